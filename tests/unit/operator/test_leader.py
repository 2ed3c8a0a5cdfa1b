"""Who may act, and up to when."""

import asyncio
from typing import Any, cast

import pytest

from llmjobs_core.errors import RetryableError
from llmjobs_operator.cluster import Cluster, ClusterUnavailable, NotLeading, ObjectGone
from llmjobs_operator.leader import GIVE_UP_S, LEASE_S, LeaderElection
from llmjobs_operator.objects import Kind, ObjectKey


class FakeCluster:
    """Keeps one Lease; does not answer while told so."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.is_away = False

    async def fetch_lease(self, *_: str) -> dict[str, Any]:
        if self.is_away:
            raise ClusterUnavailable("away")
        if self.lease is None:
            raise ObjectGone("no lease")
        return self.lease

    async def create_lease(self, _: str, lease: dict[str, Any]) -> dict[str, Any]:
        self.lease = lease
        return lease


def make_election(cluster: FakeCluster) -> LeaderElection:
    return LeaderElection(cast("Cluster", cluster), namespace="n", name="l", identity="me")


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_leader_that_wakes_up_late_may_not_act_before_it_has_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = FakeCluster()
    election = make_election(cluster)
    task = asyncio.create_task(election.run())
    await election.leading.wait()
    assert election.may_act()
    loop = asyncio.get_running_loop()
    late = loop.time() + GIVE_UP_S + 0.1
    monkeypatch.setattr(loop, "time", lambda: late)
    assert election.leading.is_set()
    assert not election.may_act()
    waiting = asyncio.create_task(election.wait_to_act())
    await asyncio.sleep(0)
    assert not election.leading.is_set()
    waiting.cancel()
    monkeypatch.undo()
    cluster.is_away = True
    await end(task)


async def test_one_that_never_held_the_lease_does_not_lead_when_nobody_answers() -> None:
    cluster = FakeCluster()
    cluster.is_away = True
    election = make_election(cluster)
    task = asyncio.create_task(election.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not election.leading.is_set()
    await end(task)


def test_a_holder_stops_before_another_may_take_over() -> None:
    assert GIVE_UP_S < LEASE_S


async def test_one_that_does_not_lead_writes_nothing() -> None:
    cluster = Cluster(cast("Any", None))
    cluster.may_write = lambda: False
    with pytest.raises(NotLeading) as raised:
        await cluster.apply_status(ObjectKey(Kind.JOB, "n", "a"), "uid", {}, {})
    assert isinstance(raised.value, RetryableError)
