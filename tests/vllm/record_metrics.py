"""Record what a real vLLM serves at /metrics while it works, for tests that have none.

    PYTHONPATH=tests/support:monitoring python tests/vllm/record_metrics.py

Writes tests/support/llmjobs_testing/vllm_metrics.txt: of vLLM's families those that dashboards
read. Needs `make test-vllm` once, which installs vLLM.
"""

import asyncio
import tempfile
from pathlib import Path

import aiohttp

from llmjobs_monitoring.foreign import VLLM_METRICS
from llmjobs_testing.vllm_page import RECORDED
from llmjobs_testing.vllm_server import MODEL, VLLMServer
from llmjobs_testing.waiting import eventually_async

ROOT = Path(__file__).resolve().parents[2]
FINISHED, RUNNING = 6, 4


def pick(page: str) -> str:
    """Return the families that dashboards read."""
    families = {metric.name.removesuffix("_total") for metric in VLLM_METRICS}
    picked, is_read = [], False
    for line in page.splitlines():
        if line.startswith("# HELP "):
            is_read = line.split()[2].removesuffix("_total") in families
        if is_read:
            picked.append(line)
    return "\n".join(picked) + "\n"


async def record(folder: Path) -> str:
    """Return the page of a vLLM that has answered some requests and runs others."""
    programs = ROOT / ".tools" / "vllm" / "bin"
    server = VLLMServer(programs, Path(__file__).with_name("make_model.py"), folder)
    await server.start()
    try:
        short = {"model": MODEL, "prompt": "tell me of the sea " * 8, "max_tokens": 24}
        for _ in range(FINISHED):
            await server.fetch_answer("/v1/completions", short)
        long = {**short, "max_tokens": 1500, "ignore_eos": True}
        running = [
            asyncio.create_task(server.fetch_answer("/v1/completions", long))
            for _ in range(RUNNING)
        ]

        async def do_all_run() -> bool:
            return await server.fetch_running() == RUNNING

        await eventually_async(do_all_run, what="vLLM to run them")
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as response:
            page = await response.text()
        for task in running:
            task.cancel()
        return page
    finally:
        await server.stop()


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as name:
        RECORDED.write_text(pick(asyncio.run(record(Path(name)))), encoding="utf-8")


if __name__ == "__main__":
    main()
