"""What a worker does while it can't ask its engine."""

from typing import Any, cast

from llmjobs_worker.engine_client import Health
from llmjobs_worker.health import EngineMonitor
from llmjobs_worker.intake import Intake
from llmjobs_worker.resume import EngineKind, EngineTraits


class Engine:
    """Answers its health check as it is told."""

    def __init__(self) -> None:
        self.health = Health.GOOD

    async def fetch_health(self, _: str) -> Health:
        return self.health

    async def fetch_traits(self) -> EngineTraits:
        return EngineTraits(EngineKind.VLLM)


async def test_an_engine_that_can_not_be_asked_gets_nothing_new_and_keeps_what_it_has() -> None:
    engine, intake, aborts = Engine(), Intake(4), list[None]()
    monitor = EngineMonitor(
        cast("Any", engine), intake, path="/health", kind=None,
        on_unhealthy=lambda: aborts.append(None),
    )  # fmt: skip
    await monitor._check()
    assert intake.is_healthy
    engine.health = Health.UNKNOWN
    assert not await monitor.confirm()
    assert (intake.is_healthy, aborts) == (False, [])
    engine.health = Health.GOOD
    await monitor._check()
    assert intake.is_healthy
