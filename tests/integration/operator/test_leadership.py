"""Of two operators one acts, whatever becomes of it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    run_operator,
    wait_condition,
    wait_until,
)

TAKE_OVER_S = 15
HAND_OVER_S = 8
LEADING = "llmjobs_operator_leading"
WRITES = 'llmjobs_operator_status_writes_total{kind="LLMJob"}'


@pytest.fixture
def pair(
    plane: ControlPlane, kubectl: Kubectl, valkey_process: Valkey, tmp_path: Path
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """One operator that leads and one that waits, for the test's namespace alone."""
    with redis.Redis.from_url(valkey_process.url) as client:
        client.flushall()
    scope = {"namespaces": kubectl.namespace, "lease_namespace": kubectl.namespace}
    with run_operator(plane, valkey_process.url, tmp_path / "first.log", **scope) as first:
        second = OperatorProcess(plane, valkey_process.url, tmp_path / "second.log", **scope)
        second.start()
        try:
            wait_until(lambda: second.read_metric(LEADING) == 0.0, what="the second to wait")
            yield first, second
        finally:
            second.stop(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_second_has_acted_within_15_s_of_the_leaders(
    number: signal.Signals, kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    pair[0].send(number)
    began_s = time.monotonic()
    kubectl.apply(build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    assert time.monotonic() - began_s < TAKE_OVER_S


async def test_a_leader_that_is_told_to_end_hands_over_at_once(
    kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    began_s = time.monotonic()
    assert pair[0].stop(signal.SIGTERM) == 0
    wait_until(pair[1].is_leading, what="the second to lead")
    assert time.monotonic() - began_s < HAND_OVER_S


async def test_a_leader_that_was_frozen_writes_nothing_when_it_wakes_up(
    kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    first, second = pair
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    before = first.read_metric(WRITES)
    first.send(signal.SIGSTOP)
    kubectl.apply(*(build_job(f"j{i}") for i in range(5)))
    for number in range(5):
        await wait_condition(kubectl, f"lj/j{number}", "condition=Accepted")
    first.send(signal.SIGCONT)
    wait_until(lambda: first.read_metric(LEADING) == 0.0, what="the first to know")
    kubectl.apply(build_job("late"))
    await wait_condition(kubectl, "lj/late", "condition=Accepted")
    assert first.read_metric(WRITES) == before
    assert second.is_leading()
