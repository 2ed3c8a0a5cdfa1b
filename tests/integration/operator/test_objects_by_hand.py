"""LLMJobs that people edit, delete by force or make anew under the same name while they run."""

import json
import signal

import pytest

from llmjobs_core.jobs import Claim, ProgressUpdate
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl, KubectlError
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    fetch_conditions,
    wait_condition,
    wait_until,
)
from llmjobs_testing.waiting import eventually_async


async def start_job(kubectl: Kubectl, driver: Driver) -> Claim:
    """Let job ``a`` run by the driver."""
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    claim = await driver.claim_one()
    await wait_condition(kubectl, "lj/a", "condition=Started")
    return claim


async def is_lost(driver: Driver, claim: Claim) -> bool:
    """Whether the work of *claim* was ended by somebody else."""
    update = ProgressUpdate(ref=claim.ref, fence=claim.fence, text="x", tokens=1)
    return bool(await driver.store.progress([update]))


async def wait_removed(driver: Driver, claim: Claim) -> None:
    """Wait until the job of *claim* is not in the store any more."""

    async def is_removed() -> bool:
        return (await driver.store.fetch_many([claim.ref.job_id])) == [None]

    await eventually_async(is_removed, what="the job to be removed")
    assert await is_lost(driver, claim)


def remove_finalizers(kubectl: Kubectl, name: str) -> None:
    kubectl("patch", "lj", name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')


async def test_a_job_made_anew_under_the_same_name_runs_and_the_first_is_ended(
    kubectl: Kubectl, driver: Driver
) -> None:
    first = await start_job(kubectl, driver)
    kubectl("delete", "lj", "a", "--timeout=30s")
    kubectl.apply(build_job("a"))
    await wait_removed(driver, first)
    await driver.answer("second")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    status = kubectl.get("lj", "a")["status"]
    assert status["jobId"] != first.ref.job_id
    assert (status["preview"], status["attempts"]) == ("second", 1)
    (record,) = (await driver.store.list_jobs(kubectl.namespace)).jobs
    assert record.id == status["jobId"]


async def test_deleting_with_orphans_cancels_as_any_deletion(
    kubectl: Kubectl, driver: Driver
) -> None:
    claim = await start_job(kubectl, driver)
    kubectl("delete", "lj", "a", "--cascade=orphan", "--timeout=30s")
    await wait_removed(driver, claim)


async def test_a_deletion_past_our_finalizer_still_ends_the_work(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    claim = await start_job(kubectl, driver)
    # Frozen, so that it has no time to put its finalizer back.
    operator.send(signal.SIGSTOP)
    remove_finalizers(kubectl, "a")
    kubectl("delete", "lj", "a", "--timeout=30s")
    operator.send(signal.SIGCONT)
    await wait_removed(driver, claim)


async def test_a_foreign_finalizer_keeps_the_object_and_the_work_ends_all_the_same(
    kubectl: Kubectl, driver: Driver
) -> None:
    claim = await start_job(kubectl, driver)
    add = '[{"op":"add","path":"/metadata/finalizers/-","value":"example.com/keep"}]'
    kubectl("patch", "lj", "a", "--type=json", "-p", add)
    kubectl("delete", "lj", "a", "--wait=false")
    await wait_removed(driver, claim)
    wait_until(
        lambda: kubectl.get("lj", "a")["metadata"]["finalizers"] == ["example.com/keep"],
        what="our finalizer to go and the other to stay",
    )
    remove_finalizers(kubectl, "a")
    await wait_condition(kubectl, "lj/a", "delete")


async def test_a_finalizer_that_was_taken_away_is_put_back(
    kubectl: Kubectl, driver: Driver
) -> None:
    await start_job(kubectl, driver)
    remove_finalizers(kubectl, "a")
    wait_until(
        lambda: kubectl.get("lj", "a")["metadata"].get("finalizers") == ["llmjobs.dev/cancel"],
        what="the finalizer",
    )


async def test_deleting_the_namespace_ends_its_work_and_the_namespace_goes(
    kubectl: Kubectl, driver: Driver
) -> None:
    claim = await start_job(kubectl, driver)
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=60s")
    await wait_removed(driver, claim)


async def test_suspend_while_it_runs_holds_the_job_and_its_class_can_change(
    kubectl: Kubectl, driver: Driver
) -> None:
    claim = await start_job(kubectl, driver)
    patch = '{"spec":{"suspend":true,"class":"batch","ttlSecondsAfterFinished":3600}}'
    kubectl("patch", "lj", "a", "--type=merge", "-p", patch)
    await wait_condition(kubectl, "lj/a", "condition=Suspended")
    assert await is_lost(driver, claim)
    kubectl("patch", "lj", "a", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    again = await driver.claim_one()
    assert again.job_class == "batch"
    await driver.complete(again, "done")
    await wait_condition(kubectl, "lj/a", "condition=Complete")


async def test_the_request_of_a_running_job_can_not_be_edited(
    kubectl: Kubectl, driver: Driver
) -> None:
    await start_job(kubectl, driver)
    with pytest.raises(KubectlError, match="model can't be changed"):
        kubectl("patch", "lj", "a", "--type=merge", "-p", '{"spec":{"model":"other"}}')


async def test_a_status_that_was_wiped_by_hand_is_written_again(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    claim = await start_job(kubectl, driver)
    kubectl("patch", "lj", "a", "--subresource=status", "--type=merge", "-p", '{"status":null}')
    await wait_condition(kubectl, "lj/a", "condition=Started")
    await driver.complete(claim, "done")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    kubectl("patch", "lj", "a", "--subresource=status", "--type=merge", "-p", '{"status":null}')
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    assert fetch_conditions(kubectl, "lj", "a")["Finished"]["reason"] == "Succeeded"
    assert kubectl.get("lj", "a")["status"]["attempts"] == 1


async def test_an_id_written_into_a_status_gives_no_hold_on_anothers_job(
    kubectl: Kubectl, driver: Driver
) -> None:
    other = await start_job(kubectl, driver)
    kubectl.apply(build_job("b", suspend=True))
    await wait_condition(kubectl, "lj/b", "condition=Suspended")
    stolen = json.dumps({"status": {"jobId": other.ref.job_id}})
    kubectl("patch", "lj", "b", "--subresource=status", "--type=merge", "-p", stolen)
    kubectl("patch", "lj", "b", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    await wait_condition(kubectl, "lj/b", "condition=Finished")
    assert not await is_lost(driver, other)
    assert kubectl.get("lj", "b")["status"]["jobId"] != other.ref.job_id
