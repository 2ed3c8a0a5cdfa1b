"""``make profile``: a flame graph of each role under a typical load, and where its time goes.

Writes ``ROLE.svg`` and ``ROLE.txt`` (the collapsed stacks) to ``bench/profiles``, and prints the
functions that take the most. Valkey's own work is told by command, as it counts it itself.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path

from llmjobs_bench import typical_load
from llmjobs_bench.py_spy import Format, RecordingFailed, record
from llmjobs_bench.rig import Rig, Server
from llmjobs_bench.stacks import render_profile, summarise

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "bench" / "profiles"
WARM_UP_S = 2.0


class Role(StrEnum):
    """What can be looked at."""

    GATEWAY = "gateway"
    WORKER = "worker"
    OPERATOR = "operator"
    EXPORTER = "exporter"
    VALKEY = "valkey"


def main() -> None:
    """Profile, print, exit: with 1 where the profiler could not do its work."""
    options = parse_options(sys.argv[1:])
    try:
        asyncio.run(profile(options.role or list(Role), options.seconds, options.top))
    except RecordingFailed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Return the options; argparse exits where they are wrong."""
    parser = argparse.ArgumentParser(prog="make profile", description="Look into llmjobs at work")
    parser.add_argument(
        "--role", action="append", type=Role, choices=list(Role), help="may be given again"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each recording takes")
    parser.add_argument("--top", type=int, default=15, help="how many functions are printed")
    return parser.parse_args(argv)


async def profile(roles: Sequence[Role], seconds: float, top: int) -> None:
    """Put a load on all roles, and look at *roles* one after the other."""
    PROFILES.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="llmjobs-profile-"))
    print(f"logs in {folder}; load: {typical_load.describe_load()}", flush=True)
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(Rig(folder))
        servers = await start(rig, stack, roles)
        await asyncio.sleep(WARM_UP_S)
        for role in roles:
            print(f"\n--- {role}", flush=True)
            if role is Role.VALKEY:
                print(await profile_valkey(rig, seconds), flush=True)
            else:
                print(await profile_role(role, servers[role], seconds, top), flush=True)


async def start(rig: Rig, stack: AsyncExitStack, roles: Sequence[Role]) -> dict[Role, Server]:
    """Start the roles and their load; the operator and its API server only where they count."""
    engine = await rig.add_engine()
    servers = {
        Role.WORKER: await rig.add_worker(engine, concurrency=typical_load.SLOTS),
        Role.GATEWAY: await rig.add_gateway(),
        Role.EXPORTER: await typical_load.add_exporter(rig),
    }
    if Role.OPERATOR in roles:
        plane = typical_load.run_plane(rig)
        servers[Role.OPERATOR], kubectl = await stack.enter_async_context(plane)
        await stack.enter_async_context(typical_load.run_llmjobs(kubectl))
    await stack.enter_async_context(typical_load.run_chats(servers[Role.GATEWAY]))
    await stack.enter_async_context(typical_load.run_scrapes(servers[Role.EXPORTER]))
    return servers


async def profile_role(role: Role, server: Server, seconds: float, top: int) -> str:
    """Record one process twice, since py-spy writes one format at a time; returns the summary."""
    drawn, collapsed = PROFILES / f"{role}.svg", PROFILES / f"{role}.txt"
    pid = server.process.pid
    cpu_s = server.fetch_cpu_s()
    await record(pid, collapsed, form=Format.RAW, seconds=seconds)
    cores = (server.fetch_cpu_s() - cpu_s) / seconds
    await record(pid, drawn, form=Format.FLAME_GRAPH, seconds=seconds)
    summary = render_profile(summarise(collapsed.read_text(encoding="utf-8")), top=top)
    return f"{drawn.relative_to(ROOT)}; {cores:.0%} of a core\n{summary}"


async def profile_valkey(rig: Rig, seconds: float) -> str:
    """Return Valkey's commands over the next *seconds*, by the time they took."""
    await typical_load.reset_command_stats(rig)
    await asyncio.sleep(seconds)
    lines = ["calls/s  µs/call  of a core  command (what a script calls counts in both)"]
    for name, told in await typical_load.fetch_command_stats(rig):
        calls = told["calls"] / seconds
        share = told["usec"] / 1e6 / seconds
        lines.append(f"{calls:7,.0f}  {told['usec_per_call']:7.1f}  {share:9.2%}  {name}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
