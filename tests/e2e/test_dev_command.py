"""``llmjobs dev`` as people and scripts use it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from llmjobs_dev.binaries import PROGRAMS
from llmjobs_dev.process import is_alive
from llmjobs_testing.local_stack import START_TIMEOUT_S, LocalStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(START_TIMEOUT_S)]


@pytest.fixture
def own(tmp_path: Path) -> LocalStack:
    """A stack of the test's own, not started."""
    return LocalStack(tmp_path / "data")


def test_up_shows_the_examples_done_and_a_second_start_is_quick(own: LocalStack) -> None:
    first = own.run("up", "--detach", timeout_s=START_TIMEOUT_S)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Try next" in first.stdout
    assert own.run("down").returncode == 0
    started_s = time.monotonic()
    second = own.run("up", "--detach", timeout_s=120)
    took_s = time.monotonic() - started_s
    try:
        assert second.returncode == 0, second.stdout + second.stderr
        assert took_s < 60, f"{took_s:.0f} s"
    finally:
        assert own.run("down").returncode == 0


def test_ctrl_c_leaves_no_process_behind(own: LocalStack, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        command = subprocess.Popen(
            own.command("up", "--no-examples"), env=own.environment(), stdout=out, stderr=out
        )
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while own.status()["phase"] != "ready":
        assert command.poll() is None, (tmp_path / "out").read_text()
        assert time.monotonic() < deadline_s
    pids = [*own.status()["pids"].values(), own.status()["supervisor_pid"]]
    assert all(is_alive(pid) for pid in pids)
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == 130
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_killed_supervisor_takes_everything_with_it(own: LocalStack) -> None:
    assert own.run("up", "--detach", "--no-examples", timeout_s=START_TIMEOUT_S).returncode == 0
    state = own.status()
    os.kill(state["supervisor_pid"], signal.SIGKILL)
    deadline_s = time.monotonic() + 20
    while any(is_alive(pid) for pid in state["pids"].values()):
        assert time.monotonic() < deadline_s, "processes are left"
    assert own.status()["phase"] == "stopped"
    assert own.run("down").stdout.strip() == "No stack runs here."


def test_a_start_that_fails_says_why_and_what_to_read(own: LocalStack, tmp_path: Path) -> None:
    broken = tmp_path / "assets"
    broken.mkdir()
    for name in PROGRAMS:
        (broken / name).write_text("#!/bin/sh\necho cannot work here >&2\nexit 7\n")
        (broken / name).chmod(0o755)
    done = subprocess.run(
        own.command("up", "--detach"),
        env=own.environment(KUBEBUILDER_ASSETS=str(broken)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "ended with status 7" in done.stderr
    log = Path(done.stderr.split("Log to read:")[1].strip())
    assert "cannot work here" in log.read_text()
    assert own.status()["phase"] == "failed"


def test_status_of_a_stack_that_never_ran_is_an_answer(own: LocalStack) -> None:
    assert own.run("status").returncode == 3
    assert own.status()["phase"] == "stopped"
