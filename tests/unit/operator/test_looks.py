"""Which LLMJobs are taken for as they were when last looked at."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from llmjobs_core.explain import explain_waiting
from llmjobs_core.jobs import JobRecord
from llmjobs_core.names import PoolKey
from llmjobs_core.store import Standing
from llmjobs_operator.looks import Looks
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.view import ClusterView
from llmjobs_testing.records import make_record

KEY = ObjectKey(Kind.JOB, "team-a", "a")
NOW_MS = 1_800_000_000_000


class Store:
    """Reads one job."""

    def __init__(self, record: JobRecord | None) -> None:
        self.record = record

    async def fetch_record(self, _job_id: str) -> JobRecord | None:
        return self.record

    async def fetch_standings(self, jobs: Sequence[tuple[str, PoolKey]]) -> list[Standing]:
        return [Standing(self.record, None, None) for _ in jobs]


class Scene:
    """An LLMJob, version 5, at which a look has begun."""

    def __init__(self) -> None:
        self._record = make_record()
        self.view, self.store = ClusterView(), Store(self._record)
        self.looks = Looks(cast("Any", self.store), self.view)
        self.see(5)
        self.looks.begin(KEY)

    def see(self, version: int) -> dict[str, Any]:
        """Have the watch tell of a form of it."""
        meta = {"name": "a", "namespace": "team-a", "uid": "u1", "resourceVersion": str(version)}
        body = {"metadata": meta, "spec": {}}
        self.view.see(KEY, body)
        return body

    def note(self) -> None:
        """End the look."""
        explained = explain_waiting(self._record, None, None, NOW_MS)
        self.looks.note(KEY, self._record, explained, now_ms=NOW_MS)


async def test_what_is_as_it_was_is_known() -> None:
    scene = Scene()
    scene.note()
    assert await scene.looks.is_known(KEY, since_ms=NOW_MS)
    assert await scene.looks.find_changed(NOW_MS) == []


async def test_what_our_own_write_made_of_it_is_known() -> None:
    scene = Scene()
    scene.looks.follow(KEY, scene.see(6))
    scene.note()
    assert await scene.looks.is_known(KEY, since_ms=NOW_MS)
    assert await scene.looks.find_changed(NOW_MS) == []


async def test_an_edit_that_came_during_the_look_is_not_taken_for_known() -> None:
    scene = Scene()
    scene.see(6)
    scene.note()
    assert not await scene.looks.is_known(KEY, since_ms=NOW_MS)
    assert await scene.looks.find_changed(NOW_MS) == [KEY]


async def test_an_edit_after_our_own_write_is_not_taken_for_known() -> None:
    scene = Scene()
    scene.looks.follow(KEY, scene.see(6))
    scene.see(7)
    scene.note()
    assert not await scene.looks.is_known(KEY, since_ms=NOW_MS)


async def test_a_look_is_known_for_a_while_only() -> None:
    scene = Scene()
    scene.note()
    assert not await scene.looks.is_known(KEY, since_ms=NOW_MS + 1)


@pytest.mark.parametrize("is_gone", [True, False], ids=["lost", "another"])
async def test_a_job_that_is_another_in_the_store_has_changed(is_gone: bool) -> None:
    scene = Scene()
    scene.note()
    scene.store.record = None if is_gone else make_record(attempts=2)
    assert not await scene.looks.is_known(KEY, since_ms=NOW_MS)
    assert await scene.looks.find_changed(NOW_MS) == [KEY]
