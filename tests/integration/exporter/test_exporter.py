"""The exporter over a real Valkey."""

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmjobs_core.jobs import NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.pools import PoolRegistration
from llmjobs_testing.driver import Driver
from llmjobs_testing.exporters import run_exporter

POOL = PoolKey("team-a", "small")


async def scrape(
    http: aiohttp.ClientSession,
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    async with http.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset({"pool": str(POOL), **labels}.items())


async def submit(driver: Driver) -> str:
    job_id = build_job_id(1)
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    await driver.store.submit(NewJob(id=job_id, pool=POOL, model="m", body=body))
    return job_id


async def test_a_job_shows_from_its_wait_to_its_end(valkey_url: str) -> None:
    driver = Driver(valkey_url, POOL)
    await driver.publish()
    await submit(driver)
    async with run_exporter(valkey_url) as http:
        waiting = await scrape(http)
        await driver.answer("hello")
        ended = await scrape(http)
    await driver.close()
    assert waiting[key("llmjobs_jobs", **{"class": "standard", "state": "Queued"})] == 1
    assert waiting[key("llmjobs_pool_requests_queued")] == 1
    assert ended[key("llmjobs_jobs", **{"class": "standard", "state": "Queued"})] == 0
    done = {"class": "standard", "state": "Succeeded", "reason": "Succeeded"}
    assert ended[key("llmjobs_jobs_ended_total", **done)] == 1
    assert ended[key("llmjobs_queue_wait_seconds_count")] == 1
    assert ended[key("llmjobs_requests_ended_total", outcome="succeeded")] == 1
    assert ended["llmjobs_store_up", frozenset()] == 1


async def test_no_job_id_is_in_a_label(valkey_url: str) -> None:
    driver = Driver(valkey_url, POOL)
    await driver.publish()
    job_id = await submit(driver)
    async with run_exporter(valkey_url) as http, http.get("/metrics") as response:
        text = await response.text()
    await driver.close()
    assert job_id not in text


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_without_the_store_nothing_is_told_as_zero(path: str) -> None:
    async with run_exporter("redis://127.0.0.1:1/0") as http:
        if path == "/metrics":
            told = await scrape(http)
            assert told["llmjobs_store_up", frozenset()] == 0.0
            assert {name for name, _ in told} == {"llmjobs_store_up", "llmjobs_build_info"}
        async with http.get("/readyz") as response:
            assert response.status == 503
        async with http.get("/healthz") as response:
            assert response.status == 200


async def test_a_hundred_pools_are_told_by_one_scrape(valkey_url: str) -> None:
    driver = Driver(valkey_url, POOL)
    for number in range(100):
        pool = PoolKey("team-a", f"pool-{number}")
        await driver.store.put_pool(PoolRegistration(key=pool, models=(f"m-{number}",)))
    async with run_exporter(valkey_url) as http:
        told = await scrape(http)
    await driver.close()
    assert told["llmjobs_store_up", frozenset()] == 1
    assert sum(name == "llmjobs_pool_requests_queued" for name, _ in told) == 100


async def test_a_full_store_is_told_as_one_that_takes_nothing(valkey_url: str) -> None:
    driver = Driver(valkey_url, POOL)
    await driver.publish()
    async with run_exporter(valkey_url) as http:
        before = await scrape(http)
        await driver.store.client.config_set("maxmemory", "1")
        try:
            full = await scrape(http)
        finally:
            await driver.store.client.config_set("maxmemory", "0")
    await driver.close()
    writable = "llmjobs_store_writable", frozenset[tuple[str, str]]()
    assert (before[writable], full[writable]) == (1, 0)
    assert full["llmjobs_store_up", frozenset()] == 1
