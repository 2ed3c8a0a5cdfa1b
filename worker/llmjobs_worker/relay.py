"""The way of every token: from the engine's stream into the answer and its checkpoint."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmjobs_worker.assemble import Answer
from llmjobs_worker.checkpoint import Checkpoint
from llmjobs_worker.chunk_reader import Part
from llmjobs_worker.engine_stream import EngineStream
from llmjobs_worker.metrics import WorkerMetrics
from llmjobs_worker.pace import TICK_S, Pace
from llmjobs_worker.publisher import Publisher
from llmjobs_worker.retry import build_network_error

_UNPACED_TOKENS = 16
"""So many are read as they come (arbitrary: a short answer, and the first words of a long one)."""
_MANY_TOKENS = 16
"""More than these in one read are worth a turn of their own; and what lies unread for a tick is
read more slowly, from memory that the caches have left."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Relays streams; one a process, used by all requests."""

    publisher: Publisher
    pace: Pace
    metrics: WorkerMetrics
    note_engine_alive: Callable[[], None]
    """Told whenever the engine has sent something."""

    async def run(
        self, stream: EngineStream, answer: Answer, checkpoint: Checkpoint, asked_s: float
    ) -> None:
        """Read *stream* until *answer* is whole; raises EngineError where it ends before.

        Also what the stream's reading raises, once what was read before is in the checkpoint.
        *asked_s* (monotonic) is when the request was sent.
        """
        relayed = _Relayed(self, stream, answer, checkpoint, asked_s)
        last_s = asked_s
        while not relayed.is_over:
            parts = await stream.read()
            if parts is None:
                break
            is_fast = time.monotonic() - last_s < TICK_S
            if relayed.take(parts) and is_fast:
                await self.pace.follow(relayed.take_ready)
            last_s = time.monotonic()
        if not answer.is_whole:
            message = "the engine ended the stream before the answer was whole"
            raise build_network_error("engine_stream_cut", message)


@dataclass(slots=True)
class _Relayed:
    relay: Relay
    stream: EngineStream
    answer: Answer
    checkpoint: Checkpoint
    asked_s: float
    has_told: bool = False

    @property
    def is_over(self) -> bool:
        # An engine does not know of a stop that was found here; leaving closes its connection.
        return self.stream.is_ended or self.answer.is_stopped

    def take_ready(self) -> bool:
        parts = self.stream.read_ready()
        return parts is not None and self.take(parts)

    def take(self, parts: Sequence[Part]) -> bool:
        """Add what came; returns whether the next of it can wait for a tick."""
        relay, answer, checkpoint = self.relay, self.answer, self.checkpoint
        relay.note_engine_alive()
        if parts and not self.has_told:
            self.has_told = True
            relay.metrics.first_token.observe(time.monotonic() - self.asked_s)
        before = answer.tokens
        for part in parts:
            if piece := answer.take(part):
                checkpoint.add(piece)
        tokens = answer.tokens - before
        relay.metrics.tokens.inc(tokens)
        if not checkpoint.is_written:
            relay.publisher.notify(checkpoint)
        is_slow = 0 < tokens <= _MANY_TOKENS and answer.tokens > _UNPACED_TOKENS
        return is_slow and not (self.is_over or answer.is_whole)
