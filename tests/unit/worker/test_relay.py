"""Every token of a stream gets into its answer and its checkpoint, read in turn or at the tick."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from llmjobs_testing.claims import make_claim
from llmjobs_testing.stream_content import DONE, FIRST, LAST, TOKEN, Content
from llmjobs_worker.assemble import CHAT, Answer, Before
from llmjobs_worker.checkpoint import Checkpoint
from llmjobs_worker.engine_stream import EngineStream
from llmjobs_worker.metrics import WorkerMetrics
from llmjobs_worker.pace import Pace
from llmjobs_worker.relay import Relay
from llmjobs_worker.retry import EngineError

TOKENS = 40


class Publisher:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.notified = 0

    def notify(self, _: Checkpoint) -> None:
        self.notified += 1


class Rig:
    """A relay, and one stream through it."""

    def __init__(self, reads: list[bytes]) -> None:
        self.content: Any = Content()
        self.content.reads = reads
        self.publisher: Any = Publisher()
        self.registry = CollectorRegistry()
        self.alive = 0
        self.checkpoint = Checkpoint.of_claim(make_claim())
        self.answer = Answer(CHAT, "m", Before(), exact=True)

    async def run(self, asked_s: float | None = None) -> str:
        """Relay it all; returns the text in the checkpoint."""
        metrics = WorkerMetrics(self.registry)
        relay = Relay(self.publisher, Pace(0), metrics, self._note_alive)
        asked_s = time.monotonic() if asked_s is None else asked_s
        async with asyncio.timeout(30) as limit:
            stream = EngineStream(self.content, limit, 30.0, chat=True)
            await relay.run(stream, self.answer, self.checkpoint, asked_s)
        update = self.checkpoint.build_update()
        return update.text if update is not None else ""

    def _note_alive(self) -> None:
        self.alive += 1


async def test_tokens_that_come_one_by_one_are_all_relayed() -> None:
    rig = Rig([FIRST, *[TOKEN] * TOKENS, LAST, DONE])
    assert await rig.run() == "a" * TOKENS
    assert (rig.answer.text, rig.answer.is_whole) == ("a" * TOKENS, True)
    assert rig.registry.get_sample_value("llmjobs_worker_tokens_total") == TOKENS


async def test_the_engine_is_alive_by_what_it_sent_alone() -> None:
    rig = Rig([FIRST, *[TOKEN] * TOKENS, LAST, DONE])
    await rig.run()
    assert rig.alive == TOKENS + 3


async def test_the_first_token_counts_from_the_request() -> None:
    rig = Rig([FIRST, TOKEN, LAST, DONE])
    await rig.run(time.monotonic() - 100)
    took_s = rig.registry.get_sample_value("llmjobs_worker_engine_first_token_seconds_sum")
    assert took_s == pytest.approx(100, abs=10)


async def test_a_stream_that_stops_short_is_an_error_and_keeps_what_came() -> None:
    rig = Rig([FIRST, *[TOKEN] * TOKENS])
    with pytest.raises(EngineError) as caught:
        await rig.run()
    assert caught.value.failure.error.code == "engine_stream_cut"
    update = rig.checkpoint.build_update()
    assert update is not None
    assert update.text == "a" * TOKENS
