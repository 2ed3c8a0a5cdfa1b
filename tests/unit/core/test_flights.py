"""Calls that travel together, and somebody who cancels what he does not know."""

import asyncio
from typing import Any, cast

import pytest

from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.store import flights
from llmjobs_core.store.flights import Flights
from llmjobs_core.store.scripts import ScriptName


class Silent:
    """A server that takes calls and never answers."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.task: asyncio.Task[Any] | None = None

    async def run_script(self, *_: object) -> Any:
        self.task = asyncio.current_task()
        self.called.set()
        await asyncio.Event().wait()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Silent:
    silent = Silent()
    monkeypatch.setattr(flights, "run_script", silent.run_script)
    return silent


async def test_a_flight_that_others_cancel_is_a_call_without_an_answer(silent: Silent) -> None:
    caller = asyncio.create_task(Flights(cast("Any", None)).run(ScriptName.SUBMIT, []))
    await silent.called.wait()
    assert silent.task is not None
    silent.task.cancel()
    with pytest.raises(StoreUnavailable):
        await caller


async def test_closing_cancels_whoever_waits(silent: Silent) -> None:
    calls = Flights(cast("Any", None))
    caller = asyncio.create_task(calls.run(ScriptName.SUBMIT, []))
    await silent.called.wait()
    await calls.close()
    with pytest.raises(asyncio.CancelledError):
        await caller
