"""Fills a pool's backlog with very many jobs, by the real submit script.

A process of its own: ``python -m llmjobs_bench.filler URL PREFIX POOL MODEL FIRST COUNT``. Every
job goes through ``submit.lua`` with what the gateway would send; only the client is made cheap, by
writing each kind of submission down once and putting another id into it.
"""

import json
import socket
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import IO
from urllib.parse import urlparse

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.states import JobClass
from llmjobs_core.store import StoreOptions, build_sync_client, encode
from llmjobs_core.store.scripts import Arg, ScriptName, load_script

PROMPT_CHARS = 500
COST = 325
"""Estimated tokens of each job."""
CLASSES = (JobClass.STANDARD, JobClass.BATCH, JobClass.INTERACTIVE)
"""The class of each job, in turns."""
_IN_FLIGHT = 256


def build_job(job_class: JobClass, pool: PoolKey, model: str) -> NewJob:
    """Return a job as the gateway would submit it, with a prompt of 500 bytes."""
    prompt = ("tell me a long story about " * 20)[:PROMPT_CHARS]
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 200, "model": model}
    return NewJob(
        id=build_job_id(time.time_ns() // 1_000_000),
        pool=pool,
        model=model,
        body=json.dumps(body, separators=(",", ":")).encode(),
        cost=COST,
        job_class=job_class,
        user="someone",
    )


def pack(*args: Arg) -> bytes:
    """Return a command as it goes over the wire."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def build_submissions(
    url: str, prefix: str, pool: PoolKey, model: str, first: int, count: int
) -> Iterator[bytes]:
    """Yield the commands that submit the jobs from *first* on."""
    template = build_message_template(build_celery_app(url))
    sha = load_script(ScriptName.SUBMIT).sha
    halves = []
    for job_class in CLASSES:
        job = build_job(job_class, pool, model)
        command = pack("EVALSHA", sha, 0, prefix, template, *encode.submit_args(job))
        before, _, after = command.partition(job.id.encode())
        halves.append((before, after))
    for number in range(first, first + count):
        before, after = halves[number % len(halves)]
        yield before + build_job_id(time.time_ns() // 1_000_000).encode() + after


def fill(url: str, prefix: str, pool: PoolKey, model: str, first: int, count: int) -> None:
    """Submit *count* jobs; raises RuntimeError if one is refused."""
    client = build_sync_client(StoreOptions(url, prefix))
    client.script_load(load_script(ScriptName.SUBMIT).text)
    client.close()
    address = urlparse(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        replies = connection.makefile("rb")
        submissions = build_submissions(url, prefix, pool, model, first, count)
        while some := list(islice(submissions, _IN_FLIGHT)):
            connection.sendall(b"".join(some))
            for _ in some:
                check_created(replies)


def check_created(replies: IO[bytes]) -> None:
    """Read one answer of ``submit.lua``: id, 1 for created, state."""
    head = replies.readline()
    if head != b"*3\r\n":
        raise RuntimeError(f"a job was not accepted: {head!r}")
    lines = [replies.readline() for _ in range(5)]
    if lines[2] != b":1\r\n":
        raise RuntimeError(f"a job was there before: {lines!r}")


def main() -> None:
    """Submit what the arguments say."""
    url, prefix, pool, model, first, count = sys.argv[1:]
    fill(url, prefix, PoolKey.parse(pool), model, int(first), int(count))


if __name__ == "__main__":
    main()
