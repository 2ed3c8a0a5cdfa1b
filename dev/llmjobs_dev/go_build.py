"""Programs built by Go from modules that a go.mod and go.sum of ours pin."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from llmjobs_dev.process import die_with_parent

GO_MINIMUM = (1, 26)

Say = Callable[[str], None]
"""Told what is tried, in words, while it happens."""


@contextlib.contextmanager
def exclusive(target: Path, say: Say) -> Iterator[None]:
    """Let one process at a time make *target*."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {target.name}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_programs(
    module: Path,
    packages: Mapping[str, str],
    folder: Path,
    say: Say,
    *,
    ldflags: str = "",
    tags: str = "",
) -> None:
    """Build each program's package into *folder*, by the pins in *module*'s go.mod and go.sum.

    Raises RuntimeError where there is no Go, it is too old, or it can't build.
    """
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("Go is not on PATH")
    _require_go(go)
    with tempfile.TemporaryDirectory() as work:
        for name in ("go.mod", "go.sum"):
            shutil.copy(module / name, work)
        for program, package in packages.items():
            started = time.monotonic()
            command = [go, "build", "-trimpath", "-ldflags", f"-s -w {ldflags}".strip()]
            if tags:
                command += ["-tags", tags]
            _run([*command, "-o", str(folder / program), package], Path(work))
            say(f"  built {program} in {time.monotonic() - started:.0f} s")


def _require_go(go: str) -> None:
    version = _run([go, "env", "GOVERSION"], Path.cwd()).strip().removeprefix("go")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < GO_MINIMUM:
        raise RuntimeError(f"Go {version} is older than {GO_MINIMUM[0]}.{GO_MINIMUM[1]}")


def _run(command: list[str], cwd: Path) -> str:
    """Run a command in a way that ends with us; RuntimeError with its last words if it fails."""
    done = subprocess.run(  # noqa: S603 - our own fixed commands
        command,
        cwd=cwd,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=die_with_parent,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-400:]}")
    return done.stdout
