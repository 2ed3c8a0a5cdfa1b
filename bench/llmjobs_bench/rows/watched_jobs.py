"""Jobs with watchers that are there before the first token, and what each of them must be told."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from llmjobs_bench.figures import SelfCheckFailed
from llmjobs_bench.rig import MODEL, POOL, Rig, Server
from llmjobs_bench.rows.relay import build_body
from llmjobs_bench.sse_reader import Watched
from llmjobs_bench.watching import WatcherProcess, check_watched
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import build_job_id
from llmjobs_core.store import JobStore

_AT_ONCE = 32
"""Calls to the store at a time, well within its connections."""


@dataclass(slots=True)
class WatchedJobs:
    """Jobs that wait for their start, each already watched."""

    store: JobStore
    ids: Sequence[str]
    tokens: int
    """Of each job."""
    process: WatcherProcess
    watched: Sequence[Watched] = ()
    """What the watchers were told, after `run`."""

    async def run(self, *, apart_s: float = 0.0) -> None:
        """Let the jobs go, *apart_s* one after the other or else as fast as may be.

        Returns when every watcher was told of its job's end.
        """
        size = 1 if apart_s else _AT_ONCE
        for at in range(0, len(self.ids), size):
            some = self.ids[at : at + size]
            await asyncio.gather(*(self.store.resume(job_id) for job_id in some))
            await asyncio.sleep(apart_s)
        self.watched = await self.process.wait()

    async def check(self) -> None:
        """Raise SelfCheckFailed unless every watcher was told all of its job's text, once."""
        hashes: dict[str, str] = {}
        for job_id in self.ids:
            (result,) = await self.store.fetch_results(job_id, 0, 1)
            if result is None:
                raise SelfCheckFailed(f"{job_id} has no result")
            text = json.loads(result.body)["choices"][0]["message"]["content"]
            hashes[job_id] = hashlib.sha256(text.encode()).hexdigest()
        check_watched(self.watched, hashes, self.tokens)


@asynccontextmanager
async def watch_jobs(
    rig: Rig,
    gateway: Server,
    *,
    jobs: int,
    tokens: int,
    rate: float,
    watchers: int = 1,
    is_stamped: bool = False,
) -> AsyncIterator[WatchedJobs]:
    """Submit suspended jobs and open *watchers* streams on each, all at *gateway*."""
    stamp = {"bench": {"stamp": True}} if is_stamped else {}
    body = json.dumps(build_body(tokens, rate=rate) | stamp).encode()
    born_ms = int(time.time() * 1000)
    ids = [build_job_id(born_ms) for _ in range(jobs)]
    for job_id in ids:
        new = NewJob(id=job_id, pool=POOL, model=MODEL, body=body, suspend=True)
        await rig.store.submit(new)
    log = rig.folder / "watchers.log"
    async with WatcherProcess(gateway, ids * watchers, log) as process:
        yield WatchedJobs(rig.store, ids, tokens, process)
