"""The dashboards know vLLM's metrics by the names that a real vLLM serves."""

import aiohttp

from llmjobs_monitoring.inventory import Source, list_metrics
from llmjobs_testing.vllm_server import MODEL, VLLMServer


async def test_every_metric_of_the_vllm_dashboard_is_served(vllm: VLLMServer) -> None:
    await vllm.fetch_answer("/v1/completions", {"model": MODEL, "prompt": "hi", "max_tokens": 8})
    async with aiohttp.ClientSession() as http, http.get(f"{vllm.url}/metrics") as response:
        page = await response.text()
    served = {line.partition("{")[0] for line in page.splitlines() if not line.startswith("#")}
    asked = {m.name: m.series for m in list_metrics() if m.source is Source.VLLM}
    assert {name for name, series in asked.items() if not series <= served} == set()
