"""LLMJobs through a real API server, a real operator and a real store."""

import json
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmjobs_core.jobs import ProgressUpdate
from llmjobs_core.states import JobState
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    fetch_conditions,
    fetch_event_messages,
    wait_condition,
    wait_until,
)
from llmjobs_testing.waiting import eventually_async

CHAT = "/v1/chat/completions"


def make_lines(count: int) -> str:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    return "\n".join(
        json.dumps({"custom_id": f"c{i}", "method": "POST", "url": CHAT, "body": body})
        for i in range(count)
    )


async def test_a_job_reaches_the_store_and_its_end_comes_back(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    await driver.answer("hello ", "world")
    await wait_condition(kubectl, "lj/a", "condition=Finished")
    status = kubectl.get("lj", "a")["status"]
    assert (status["phase"], status["progress"], status["preview"]) == (
        "Succeeded", "1/1", "hello world",
    )  # fmt: skip
    assert status["resultRef"]["path"] == f"/jobs/{status['jobId']}/result"
    assert fetch_conditions(kubectl, "lj", "a")["Complete"]["status"] == "True"


@pytest.mark.usefixtures("operator")
async def test_an_end_that_was_not_planned_is_an_event(kubectl: Kubectl) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    kubectl.apply(build_job("a", cancel=True))
    wait_until(lambda: bool(fetch_event_messages(kubectl, "a", "Cancelled")), what="the Event")


async def test_a_batch_from_a_config_map_runs_line_by_line(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(
        build_pool(),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "input"},
            "data": {"lines.jsonl": make_lines(3)},
        },
        build_job("b", batch={"configMapRef": {"name": "input", "key": "lines.jsonl"}}),
    )
    await wait_condition(kubectl, "lj/b", "condition=Accepted")
    driver.beat()
    done = 0
    while done < 3:
        for claim in await driver.claim():
            await driver.complete(claim, "x")
            done += 1
    await wait_condition(kubectl, "lj/b", "condition=Complete")
    assert kubectl.get("lj", "b")["status"]["progress"] == "3/3"


async def test_a_config_map_that_comes_late_is_waited_for(kubectl: Kubectl, driver: Driver) -> None:
    kubectl.apply(
        build_pool(), build_job("b", batch={"configMapRef": {"name": "late", "key": "lines"}})
    )
    await wait_condition(kubectl, "lj/b", "jsonpath={.status.reason}=InputNotFound")
    assert "ConfigMap late" in kubectl.get("lj", "b")["status"]["message"]


async def test_a_bad_batch_line_is_named_by_its_number(kubectl: Kubectl, driver: Driver) -> None:
    lines = make_lines(2) + "\n{not json"
    kubectl.apply(build_pool(), build_job("b", batch={"inline": lines}))
    await wait_condition(kubectl, "lj/b", "condition=Failed")
    accepted = fetch_conditions(kubectl, "lj", "b")["Accepted"]
    assert accepted["reason"] == "InvalidSpec"
    assert "line 3" in accepted["message"]


async def test_an_unknown_model_waits_with_its_reason_until_a_pool_serves_it(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_job("a", model="nobody-serves-this"))
    await wait_condition(kubectl, "lj/a", "jsonpath={.status.reason}=PoolNotFound")
    accepted = fetch_conditions(kubectl, "lj", "a")["Accepted"]
    assert accepted["status"] == "False"
    assert "nobody-serves-this" in accepted["message"]
    wait_until(lambda: bool(fetch_event_messages(kubectl, "a", "PoolNotFound")), what="the Event")
    kubectl.apply(build_pool(models=["nobody-serves-this"]))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")


async def test_suspend_holds_a_job_and_resume_lets_it_run(kubectl: Kubectl, driver: Driver) -> None:
    kubectl.apply(build_pool(), build_job("a", suspend=True))
    await wait_condition(kubectl, "lj/a", "condition=Suspended")
    driver.beat()
    kubectl("patch", "lj", "a", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    await driver.answer("done")
    await wait_condition(kubectl, "lj/a", "condition=Complete")


async def test_deleting_a_running_job_cancels_its_work(kubectl: Kubectl, driver: Driver) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    claim = await driver.claim_one()
    kubectl("delete", "lj", "a", "--timeout=30s")

    async def is_removed() -> bool:
        return (await driver.store.list_jobs(kubectl.namespace)).jobs == ()

    # A moment later where the LLMJob was so young that it had no finalizer yet.
    await eventually_async(is_removed, what="the job to be removed")
    lost = await driver.store.progress(
        [ProgressUpdate(ref=claim.ref, fence=claim.fence, text="late", tokens=1)]
    )
    assert [item.ref for item in lost] == [claim.ref]


async def test_a_job_that_ends_in_failure_says_why(kubectl: Kubectl, driver: Driver) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    await driver.fail(await driver.claim_one())
    await wait_condition(kubectl, "lj/a", "condition=Failed")
    failed = fetch_conditions(kubectl, "lj", "a")["Failed"]
    assert "no such thing" in failed["message"]


async def test_status_is_written_at_most_once_a_second_and_not_without_news(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    claim = await driver.claim_one()
    await wait_condition(kubectl, "lj/a", "condition=Started")
    sample = 'llmjobs_operator_status_writes_total{kind="LLMJob"}'
    before, started_s = operator.read_metric(sample), time.monotonic()
    for number in range(60):
        await driver.say(claim, f"word{number} ")
        driver.beat(held=(claim,))
    await driver.complete(claim, "words")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    took_s = time.monotonic() - started_s
    written = (operator.read_metric(sample) or 0) - (before or 0)
    assert 1 <= written <= took_s + 2
    version = kubectl.get("lj", "a")["metadata"]["resourceVersion"]
    kubectl.apply(build_job("later", suspend=True))
    await wait_condition(kubectl, "lj/later", "condition=Suspended")
    assert kubectl.get("lj", "a")["metadata"]["resourceVersion"] == version


async def test_looking_again_without_news_writes_nothing(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    kubectl.apply(build_job("a", model="nobody"), build_job("b", suspend=True), build_pool())
    await wait_condition(kubectl, "lj/a", "jsonpath={.status.reason}=PoolNotFound")
    await wait_condition(kubectl, "lj/b", "condition=Suspended")
    writes = 'llmjobs_operator_status_writes_total{kind="LLMJob"}'
    looks = 'llmjobs_operator_reconcile_seconds_count{kind="LLMJob"}'
    # The one write that a late event of the first may still cause.
    kubectl("label", "lj", "a", "b", "look=once")
    looked = operator.read_metric(looks) or 0
    wait_until(lambda: (operator.read_metric(looks) or 0) >= looked + 2, what="a look at both")
    before, looked = operator.read_metric(writes), operator.read_metric(looks) or 0
    kubectl("label", "lj", "a", "b", "look=again", "--overwrite")
    wait_until(lambda: (operator.read_metric(looks) or 0) >= looked + 2, what="a look at both")
    assert operator.read_metric(writes) == before
    assert "duration" not in kubectl.get("lj", "b")["status"]


async def test_annotations_stay_small_whatever_the_prompt(kubectl: Kubectl, driver: Driver) -> None:
    body = {"messages": [{"role": "user", "content": "secret " * 20_000}]}
    job = build_job("big", request={"endpoint": CHAT, "body": body})
    kubectl("create", "-f", "-", stdin=json.dumps(job))
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lj/big", "condition=Accepted")
    found = kubectl.get("lj", "big")
    annotations = json.dumps(found["metadata"].get("annotations") or {})
    assert len(annotations) < 4096
    assert "secret" not in annotations + json.dumps(found["status"])


async def test_a_job_by_kubectl_is_there_by_http_names(kubectl: Kubectl, driver: Driver) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    (record,) = (await driver.store.list_jobs(kubectl.namespace)).jobs
    assert (record.name, record.state) == ("a", JobState.QUEUED)


@pytest.mark.usefixtures("operator")
async def test_a_deleted_llmjob_is_let_go_by_one_write(kubectl: Kubectl) -> None:
    names = [f"j{number}" for number in range(8)]
    kubectl.apply(build_pool(), *(build_job(name) for name in names))
    for name in names:
        await wait_condition(kubectl, f"lj/{name}", "jsonpath={.metadata.finalizers[0]}")
    before = count_requests(kubectl, code="404")
    kubectl("delete", "lj", *names, "--timeout=60s")
    # What comes after it in the operator's work is done, so nothing of theirs is left.
    kubectl.apply(build_job("after"))
    await wait_condition(kubectl, "lj/after", "condition=Accepted")
    assert count_requests(kubectl, code="404") == before


@pytest.mark.usefixtures("operator")
async def test_an_ending_namespace_is_told_nothing(kubectl: Kubectl) -> None:
    kubectl.apply(build_pool(), *(build_job(f"j{number}") for number in range(40)))
    for number in range(40):
        await wait_condition(kubectl, f"lj/j{number}", "condition=Accepted")
    before = count_requests(kubectl, subresource="status")
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=120s")
    told = count_requests(kubectl, subresource="status") - before
    assert told < 10


def count_requests(kubectl: Kubectl, **labels: str) -> float:
    """Return how many changes of LLMJobs the API server was asked for."""
    families = text_string_to_metric_families(kubectl("get", "--raw", "/metrics"))
    wanted = {"resource": "llmjobs", "verb": "PATCH", **labels}
    return sum(
        sample.value
        for family in families
        if family.name == "apiserver_request"
        for sample in family.samples
        if sample.name.endswith("_total") and wanted.items() <= sample.labels.items()
    )
