"""What a token costs on its whole way: from the engine's socket to one watcher of the job.

CPU of all that is llmjobs' (worker, gateway, Valkey); engine and watchers are not in it. There is
nothing to compare it with but itself, so its reference is its own first measurement.
"""

from collections.abc import Sequence

from llmjobs_bench.figures import Bound, Figure
from llmjobs_bench.rig import Rig
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.watched_jobs import watch_jobs

JOBS = 32
PACE = 100.0
"""Tokens a second of each job."""
FIRST_MEASUREMENT_MS = 134.0
"""Of CPU for 1,000 tokens, before anything was done about it: 2026-11-25, at commit b304434, median
of three runs (133 to 142) on 2 cores: worker 59.4, gateway 46.9, Valkey 28.6."""


async def measure(stage: Stage) -> Sequence[Figure]:
    """Have every job watched by one client."""
    tokens = stage.size(600, 60)
    async with Rig(stage.folder) as rig:
        engine = await rig.add_engine()
        worker = await rig.add_worker(engine, concurrency=JOBS)
        gateway = await rig.add_gateway()

        async def spend() -> tuple[float, float, float]:
            async with watch_jobs(rig, gateway, jobs=JOBS, tokens=tokens, rate=PACE) as watching:
                parts = (worker.fetch_cpu_s, gateway.fetch_cpu_s, rig.fetch_valkey_cpu_s)
                before = [fetch() for fetch in parts]
                await watching.run()
                spent = [fetch() - s for fetch, s in zip(parts, before, strict=True)]
                await watching.check()
            thousands = JOBS * tokens / 1000
            return (
                spent[0] / thousands * 1e3,
                spent[1] / thousands * 1e3,
                spent[2] / thousands * 1e3,
            )

        await spend()
        taken = (await stage.alternate({"spend": spend}))["spend"]
    unit = "ms a 1,000 tokens"
    bound = Bound(at_most=FIRST_MEASUREMENT_MS / 2)
    return [
        Figure("CPU in all", [sum(parts) for parts in taken], unit, bound),
        Figure("when first measured", [FIRST_MEASUREMENT_MS], unit),
        Figure("worker", [parts[0] for parts in taken], unit),
        Figure("gateway", [parts[1] for parts in taken], unit),
        Figure("Valkey", [parts[2] for parts in taken], unit),
    ]


ROW = Row(
    "whole-path",
    f"CPU of gateway, worker and Valkey for 1,000 tokens delivered to one SSE client of each of "
    f"{JOBS} jobs at {PACE:.0f} tokens/s",
    measure,
)
