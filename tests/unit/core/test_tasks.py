"""Background tasks end when they are told to."""

import asyncio

import pytest

from llmjobs_core import tasks
from llmjobs_core.tasks import end_tasks


async def test_a_task_that_loses_its_first_cancel_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0)
    lost = 0

    async def retry_for_ever() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    task = asyncio.create_task(retry_for_ever())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks([task]), 5)
    assert (task.cancelled(), lost) == (True, 1)
