"""Which sightings are worth a look."""

import asyncio
from typing import Any, cast

from llmjobs_operator.endings import Endings
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.sightings import Sightings
from llmjobs_operator.view import ClusterView
from llmjobs_operator.worklist import Worklist

KEY = ObjectKey(Kind.JOB, "team-a", "a")
THEN = "2026-01-01T00:00:00Z"


def make_job(version: int, *, ended: bool = False, ttl_s: int | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "metadata": {
            "name": "a",
            "namespace": "team-a",
            "uid": "u1",
            "resourceVersion": str(version),
            "creationTimestamp": THEN,
            "generation": 1,
            "finalizers": ["llmjobs.dev/cancel"],
        },
        "spec": {} if ttl_s is None else {"ttlSecondsAfterFinished": ttl_s},
    }
    if ended:
        finished = {"type": "Finished", "status": "True"}
        body["status"] = {
            "conditions": [finished], "observedGeneration": 1, "completionTime": THEN,
        }  # fmt: skip
    return body


class Election:
    """One that is decided."""

    def __init__(self, leads: bool) -> None:
        self.leading = asyncio.Event()
        if leads:
            self.leading.set()


class Scene:
    """Sightings, and what they put on the list."""

    def __init__(self, *, leads: bool = True) -> None:
        self.view, self.work = ClusterView(), Worklist()
        unused, election = cast("Any", None), cast("Any", Election(leads))
        self.endings = Endings(unused, now_ms=lambda: 0)
        self.sightings = Sightings(
            self.view, self.work, unused, election, self.endings, poke_pool=lambda _pool: None
        )

    def see(self, kind: str | None, body: dict[str, Any]) -> int:
        """Take one event; returns how many objects are to be looked at."""
        self.sightings.see(Kind.JOB, {"type": kind, "object": body})
        return self.work.count_due()


async def test_the_event_of_a_form_that_is_known_already_is_no_news() -> None:
    scene = Scene()
    scene.view.see(KEY, make_job(5))  # what a write of ours was answered with
    assert scene.see("MODIFIED", make_job(5)) == 0
    assert scene.see("MODIFIED", make_job(6)) == 1


async def test_an_edit_that_our_write_overtook_is_looked_at() -> None:
    scene = Scene()
    scene.view.see(KEY, make_job(6))
    assert scene.see("MODIFIED", make_job(5)) == 1


async def test_a_list_tells_nothing_new_of_jobs_that_have_ended() -> None:
    scene = Scene()
    assert scene.see(None, make_job(5, ended=True)) == 0
    assert scene.view.settled(KEY) is not None


async def test_a_list_tells_of_jobs_that_have_not_ended_or_should_be_gone() -> None:
    assert Scene().see(None, make_job(5)) == 1
    assert Scene().see(None, make_job(5, ended=True, ttl_s=1)) == 1


async def test_an_edit_of_a_job_that_has_ended_is_looked_at() -> None:
    scene = Scene()
    scene.see(None, make_job(5, ended=True))
    assert scene.see("MODIFIED", make_job(6, ended=True)) == 1


async def test_who_stands_by_keeps_little_of_jobs_that_the_leader_ended() -> None:
    scene = Scene(leads=False)
    scene.see(None, make_job(5))
    scene.see("MODIFIED", make_job(6, ended=True))
    assert scene.view.settled(KEY) is not None


async def test_a_list_is_at_its_end_when_nothing_more_comes() -> None:
    scene = Scene()
    scene.see(None, make_job(5))
    waiting = asyncio.create_task(scene.sightings.wait_listed())
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.wait_for(waiting, 3)
