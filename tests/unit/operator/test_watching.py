"""Kopf as the operator runs it."""

import asyncio
import getpass

import kopf
import pytest

from llmjobs_operator.handlers import configure_kopf
from llmjobs_operator.watching import watch


async def test_a_user_that_the_container_has_no_name_for_can_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = asyncio.Event()
    ran = []

    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    async def spawn_tasks(**options: object) -> list[asyncio.Task[None]]:
        # As Kopf's own does.
        ran.append(options.get("identity") or getpass.getuser())
        stop.set()
        return [asyncio.create_task(asyncio.sleep(0))]

    monkeypatch.setattr(getpass, "getuser", no_name)
    monkeypatch.setattr(kopf, "spawn_tasks", spawn_tasks)
    await asyncio.wait_for(watch(lambda *_: None, (), stop, identity="operator-1"), 5)
    assert ran == ["operator-1"]


def test_kopf_ending_by_itself_does_not_kill_the_process_later() -> None:
    settings = kopf.OperatorSettings()
    assert settings.process.ultimate_exiting_timeout  # its own: seconds until SIGKILL
    configure_kopf(settings, scan=True)
    assert settings.process.ultimate_exiting_timeout is None
