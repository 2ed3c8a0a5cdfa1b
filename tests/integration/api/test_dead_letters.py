"""Jobs that failed for good: found by their reason, and run again, one or all."""

from llmjobs_core.names import PoolKey
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import CHAT, Client


async def fail_jobs(client: Client, driver: Driver, count: int, **job: object) -> list[str]:
    """Submit *count* jobs and let each fail; returns their ids, oldest first."""
    ids = []
    for _ in range(count):
        ids.append(await client.submit(**job))
        await driver.fail(await driver.claim_one())
    return ids


async def test_dead_letters_are_listed_by_state_and_reason_in_any_case(
    client: Client, driver: Driver
) -> None:
    dead = await fail_jobs(client, driver, 3)
    cancelled = await client.submit()
    await client.call("POST", f"/jobs/{cancelled}/cancel")
    _, first, _ = await client.call("GET", "/jobs?state=failed&reason=requestfailed&limit=2")
    cursor = first["nextCursor"]
    _, second, _ = await client.call(
        "GET", f"/jobs?state=FAILED&reason=RequestFailed&limit=2&cursor={cursor}"
    )
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == dead[::-1]
    assert second["nextCursor"] is None
    _, none, _ = await client.call("GET", "/jobs?state=failed&reason=Poisoned")
    assert none["jobs"] == []


async def test_retrying_all_twice_retries_each_once(client: Client, driver: Driver) -> None:
    dead = await fail_jobs(client, driver, 3)
    path = "/jobs/retry?state=failed&reason=requestfailed"
    status, first, _ = await client.call("POST", path)
    assert (status, first["retried"], first["nextCursor"]) == (200, 3, None)
    _, again, _ = await client.call("POST", path)
    assert (again["retried"], again["alreadyRetried"]) == (0, 3)
    assert [job["id"] for job in again["jobs"]] == [job["id"] for job in first["jobs"]]
    _, listed, _ = await client.call("GET", "/jobs?state=queued")
    assert sorted(job["retryOf"] for job in listed["jobs"]) == dead


async def test_retrying_all_is_bounded_and_says_what_is_left(
    client: Client, driver: Driver
) -> None:
    dead = await fail_jobs(client, driver, 5)
    path, found, left = "/jobs/retry?reason=RequestFailed&limit=2", [], []
    cursor = ""
    while True:
        _, report, _ = await client.call("POST", path + cursor)
        found += [job["retryOf"] for job in report["jobs"]]
        left.append(report["remaining"])
        if report["nextCursor"] is None:
            break
        cursor = f"&cursor={report['nextCursor']}"
    assert (found, left) == (dead[::-1], [3, 1, 0])


async def test_retrying_all_of_a_label_leaves_the_others(client: Client, driver: Driver) -> None:
    await fail_jobs(client, driver, 2)
    (ours,) = await fail_jobs(client, driver, 1, labels={"team": "blue"})
    _, report, _ = await client.call("POST", "/jobs/retry?label=team=blue")
    assert [job["retryOf"] for job in report["jobs"]] == [ours]


async def test_retrying_one_twice_gives_the_same_retry_and_a_key_another(
    client: Client, driver: Driver
) -> None:
    (dead,) = await fail_jobs(client, driver, 1)
    _, first, _ = await client.call("POST", f"/jobs/{dead}/retry")
    _, again, _ = await client.call("POST", f"/jobs/{dead}/retry")
    _, other, _ = await client.call(
        "POST", f"/jobs/{dead}/retry", headers={"Idempotency-Key": "once more"}
    )
    assert first["id"] == again["id"] != other["id"]
    assert [job["created"] for job in (first, again, other)] == [True, False, True]


async def test_only_states_in_which_jobs_have_ended_can_be_retried(client: Client) -> None:
    status, body, _ = await client.call("POST", "/jobs/retry?state=running")
    assert (status, body["error"]["param"]) == (422, "state")


async def test_a_dead_letter_that_no_pool_takes_does_not_hold_up_the_others(
    client: Client, driver: Driver, valkey_url: str
) -> None:
    other = Driver(valkey_url, PoolKey("team-a", "b"), models=("other",))
    await other.publish()
    await client.submit(body={**CHAT, "model": "other"})
    await other.fail(await other.claim_one())
    await other.store.drop_pool(other.pool)
    await other.close()
    (ours,) = await fail_jobs(client, driver, 1)
    _, report, _ = await client.call("POST", "/jobs/retry")
    assert (report["retried"], report["refused"]) == (1, 1)
    assert report["jobs"][0]["retryOf"] == ours
    assert "no new jobs" in report["jobs"][1]["refusal"]
