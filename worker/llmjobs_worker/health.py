"""Watches the engine's health: nothing is taken before it answers, nor while it does not."""

import asyncio
import time
from collections.abc import Callable

import structlog

from llmjobs_worker.engine_client import MODELS, EngineClient, Health
from llmjobs_worker.intake import Intake
from llmjobs_worker.resume import EngineKind, EngineTraits

STARTING_S = 0.25
"""Between checks until the engine answers: a cold start is not made longer."""
RUNNING_S = 1.0
_AGAIN_S = 0.5
"""After a failed check, until the next. An engine that hangs is so given up in at most 8 s: one
second, three silent checks of two, and the time between them."""
_FAILURES_MAX = 3
"""Checks in a row that must fail; one is enough after a request that got no answer."""

_log = structlog.get_logger(__name__)


class EngineMonitor:
    """Opens and shuts the intake by the engine's health."""

    def __init__(
        self,
        engine: EngineClient,
        intake: Intake,
        *,
        path: str,
        kind: EngineKind | None,
        on_unhealthy: Callable[[], None],
    ) -> None:
        """*path* empty for an engine without a health check; *kind* None asks the engine.

        Without a check an engine is only asked when there is doubt, and any answer will do.
        """
        self._engine = engine
        self._intake = intake
        self._path = path
        self._kind = kind
        self._on_unhealthy = on_unhealthy
        self._failures = 0
        self._traits = EngineTraits(kind or EngineKind.OPENAI)
        self._confirming: asyncio.Task[bool] | None = None
        self._alive_s = 0.0

    @property
    def traits(self) -> EngineTraits:
        """What is known of the engine."""
        return self._traits

    def note_alive(self) -> None:
        """The engine has sent something just now: it does not hang, however late its answers."""
        self._alive_s = time.monotonic()

    async def confirm(self) -> bool:
        """Ask the engine whether it is alive, and believe a single failed check.

        For requests that got no answer. They tend to come together, so they share one check.
        """
        if self._confirming is None or self._confirming.done():
            self._confirming = asyncio.create_task(self._confirm())
        return await asyncio.shield(self._confirming)

    async def _confirm(self) -> bool:
        self._failures = max(self._failures, _FAILURES_MAX - 1)
        await self._check()
        return self._failures == 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._check()
            if not self._intake.is_healthy:
                await asyncio.sleep(STARTING_S)
            else:
                await asyncio.sleep(_AGAIN_S if self._failures else RUNNING_S)

    async def _check(self) -> None:
        is_alive = await self._is_alive()
        if is_alive:
            self._failures = 0
            if not self._intake.is_healthy:
                await self._learn_traits()
                _log.info("engine_healthy", kind=self._traits.kind)
                self._intake.set_healthy(True)
            return
        self._failures += 1
        if self._failures < _FAILURES_MAX:
            return
        if self._intake.is_healthy:
            event = "engine_not_asked" if is_alive is None else "engine_unhealthy"
            _log.warning(event, checks_failed=self._failures)
            self._intake.set_healthy(False)
        if is_alive is None:
            return  # nothing new may begin here, but what runs has its connection already
        # At every failed check: a claim that was on its way may have come in meanwhile.
        self._on_unhealthy()

    async def _is_alive(self) -> bool | None:
        """Return None where that can't be known."""
        if not self._path and self._intake.is_healthy and self._failures == 0:
            return True
        asked_s = time.monotonic()
        health = await self._engine.fetch_health(self._path or MODELS)
        if health is Health.UNKNOWN:
            return None
        if health is Health.SILENT:
            return self._alive_s > asked_s
        return health is Health.GOOD or (not self._path and health is Health.BAD)

    async def _learn_traits(self) -> None:
        # Not knowing is no news: what it said before still holds.
        if found := await self._engine.fetch_traits():
            self._traits = EngineTraits(self._kind or found.kind, found.max_model_len)
