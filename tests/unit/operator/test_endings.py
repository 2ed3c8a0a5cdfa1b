"""Which namespaces are asked for, and how often."""

from typing import cast

import pytest

from llmjobs_operator.cluster import Cluster, ClusterRefused, ObjectGone
from llmjobs_operator.endings import Endings


class Scene:
    """A cluster with one namespace, and a clock."""

    def __init__(self, answer: bool | Exception = True) -> None:
        self.answer, self.asked, self.now_ms = answer, 0, 100_000
        self.endings = Endings(cast("Cluster", self), now_ms=lambda: self.now_ms)

    async def is_namespace_ending(self, _name: str) -> bool:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def look(self) -> bool:
        return await self.endings.is_ending("a")


async def test_a_namespace_in_which_nothing_was_deleted_is_not_asked_for() -> None:
    scene = Scene()
    scene.endings.suspect("b")
    assert not await scene.look()
    assert scene.asked == 0


@pytest.mark.parametrize(
    ("answer", "want"),
    [(True, True), (False, False), (ObjectGone(""), True), (ClusterRefused(""), False)],
    ids=["ending", "living", "gone", "no right to know"],
)
async def test_a_suspect_is_as_the_cluster_says(answer: bool | Exception, want: bool) -> None:
    scene = Scene(answer)
    scene.endings.suspect("a")
    assert await scene.look() is want


async def test_many_looks_at_once_ask_once() -> None:
    scene = Scene()
    scene.endings.suspect("a")
    assert [await scene.look() for _ in range(100)] == [True] * 100
    assert scene.asked == 1


async def test_an_answer_grows_old() -> None:
    scene = Scene(answer=False)
    scene.endings.suspect("a")
    await scene.look()
    scene.now_ms += 2_001
    scene.answer = True
    assert await scene.look()


async def test_a_deletion_long_ago_is_forgotten() -> None:
    scene = Scene()
    scene.endings.suspect("a")
    scene.now_ms += 10_001
    assert not await scene.look()
    assert scene.asked == 0
