"""Whatever comes in while an engine is known to be sick is stopped too."""

import asyncio
from contextlib import suppress

from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.waiting import eventually
from llmjobs_worker.engine_client import EngineClient
from llmjobs_worker.health import EngineMonitor
from llmjobs_worker.intake import Intake


async def test_a_sick_engines_requests_are_stopped_at_every_failed_check(
    engine: ScriptedEngine,
) -> None:
    stops = 0

    def stop() -> None:
        nonlocal stops
        stops += 1

    intake = Intake(1)
    async with EngineClient(engine.url) as client:
        monitor = EngineMonitor(client, intake, path="/health", kind=None, on_unhealthy=stop)
        watching = asyncio.create_task(monitor.run())
        await eventually(lambda: intake.is_healthy, what="the engine found healthy")
        engine.healthy = False
        # A claim that was on its way may come in after the first of them.
        await eventually(lambda: stops >= 3, what="three stops")
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
