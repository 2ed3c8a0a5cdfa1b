"""What an engine wrote down outlives it."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp

from llmjobs_dev.ports import find_free_ports
from llmjobs_testing.engine_journal import Entry, read_journal
from llmjobs_testing.kubectl import ROOT
from llmjobs_testing.waiting import eventually


async def run_engine(journal: Path, port: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llmjobs_testing.engine",
        "--port", str(port), "--journal", str(journal),
        env={"PYTHONPATH": str(ROOT / "tests" / "support")},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ask(port: int, user: str, **script: int) -> None:
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "user": user,
        "script": script,
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as response,
    ):
        await response.read()


async def test_a_killed_engines_journal_has_what_it_saw(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    (port,) = find_free_ports(1)
    engine = await run_engine(journal, port)
    assert engine.stdout is not None
    await engine.stdout.readline()
    await ask(port, "whole", tokens=5)
    hanging = asyncio.create_task(ask(port, "hanging", tokens=5, stall_at=2))
    await eventually(lambda: len(read_journal(journal)) == 2, what="both requests written down")
    engine.send_signal(signal.SIGKILL)
    await engine.wait()
    await asyncio.gather(hanging, return_exceptions=True)
    again = await run_engine(journal, port)
    assert again.stdout is not None
    await again.stdout.readline()
    await ask(port, "later", tokens=1)
    again.kill()
    await again.wait()

    def told(entry: Entry) -> tuple[str, str, int, int]:
        return entry.user, entry.outcome, entry.run, entry.number

    whole, cut, later = read_journal(journal)
    assert told(whole) == ("whole", "done", 0, 0)
    assert whole.reached == 6  # five of text, and the end
    assert told(cut) == ("hanging", "open", 0, 1)
    assert cut.closed_s is None
    assert told(later) == ("later", "done", 1, 0)
