"""How many jobs a second the store takes through their lives, with one client on this machine.

Each job is submitted, claimed, given one progress update and completed: four scripts and a message.
Run: ``make bench``. Bounded: COUNT jobs on a Valkey of its own, on loopback.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.jobs import NewJob, ProgressUpdate, Usage
from llmjobs_core.names import ChunkRef, PoolKey, build_job_id
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, LeaseStore, StoreOptions, build_sync_client
from llmjobs_dev.valkey import Valkey

COUNT = 2_000
SLOTS = 64
POOL = PoolKey("bench", "p")


async def run_steps(url: str) -> None:
    """Take COUNT jobs through their lives and print the rate of each step."""
    options = StoreOptions(url)
    store = JobStore.connect(options)
    client = build_sync_client(options)
    await store.put_pool(PoolRegistration(key=POOL, models=("m",)))
    started_s = time.perf_counter()
    for number in range(COUNT):
        job_id = build_job_id(1_700_000_000_000 + number)
        await store.submit(NewJob(id=job_id, pool=POOL, model="m", body=b'{"model":"m"}'))
    submitted_s = time.perf_counter()
    template = build_message_template(build_celery_app(url))
    leases = LeaseStore(client, prefix=options.prefix, template=template)
    done = 0
    while done < COUNT:
        leases.renew("bench", POOL, SLOTS, [])
        await store.dispatch(POOL)
        while (message := client.rpop(POOL.queue)) is not None:
            done += await run_message(store, message)
    ended_s = time.perf_counter()
    print(f"submit:                    {COUNT / (submitted_s - started_s):7.0f} jobs/s")
    print(f"claim, progress, complete: {COUNT / (ended_s - submitted_s):7.0f} jobs/s")
    await store.close()
    client.close()


async def run_message(store: JobStore, message: object) -> int:
    """Run what one Celery message is for; returns how many jobs that ended."""
    if not isinstance(message, bytes):
        raise TypeError("the queue holds no messages")
    chunk = ChunkRef.parse(json.loads(message)["headers"]["id"])
    claims = await store.claim(chunk, worker="bench", token=str(chunk), limit=1)
    for claim in claims:
        update = ProgressUpdate(ref=claim.ref, fence=claim.fence, text="some text", tokens=2)
        await store.progress([update])
        await store.complete(claim.ref, claim.fence, status_code=200, body=b"{}", usage=Usage(1, 2))
    return len(claims)


async def main() -> None:
    """Start a Valkey, measure, end it."""
    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder), Path(folder) / "valkey.log")
        await valkey.start()
        try:
            await run_steps(valkey.url)
        finally:
            await valkey.stop()


if __name__ == "__main__":
    asyncio.run(main())
