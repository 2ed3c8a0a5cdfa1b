"""What the operator remembers of the cluster."""

from typing import Any

import pytest

from llmjobs_core.resources import InvalidResource
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.view import ClusterView

KEY = ObjectKey(Kind.JOB, "team-a", "a")
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"


def make_body(uid: str, version: int, created: str = EARLY) -> dict[str, Any]:
    metadata = {
        "name": "a",
        "namespace": "team-a",
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": created,
    }
    return {"metadata": metadata, "spec": {}}


def fetch_uid(view: ClusterView) -> str | None:
    body = view.get(KEY)
    return None if body is None else str(body["metadata"]["uid"])


def test_an_older_form_is_passed_over() -> None:
    view = ClusterView()
    view.see(KEY, make_body("u1", 5))
    assert not view.see(KEY, make_body("u1", 4))


def test_the_late_end_of_an_object_does_not_take_its_namesake() -> None:
    view = ClusterView()
    view.see(KEY, make_body("u1", 5))
    view.see(KEY, make_body("u2", 9, LATE))
    assert not view.forget(KEY, "u1")
    assert fetch_uid(view) == "u2"


def test_late_news_of_an_object_does_not_replace_its_namesake() -> None:
    view = ClusterView()
    view.see(KEY, make_body("u2", 9, LATE))
    assert not view.see(KEY, make_body("u1", 5))
    assert not view.see(KEY, make_body("u1", 5, LATE))
    assert fetch_uid(view) == "u2"


def test_after_a_restore_of_etcd_the_lower_version_is_taken() -> None:
    view = ClusterView()
    view.see(KEY, make_body("u1", 500))
    assert view.see(KEY, make_body("u1", 20), anyway=True)
    assert view.see(KEY, make_body("u1", 21))


def make_ended(version: int, **changes: Any) -> dict[str, Any]:
    body = make_body("u1", version)
    body["metadata"] |= {"generation": 1, "finalizers": ["llmjobs.dev/cancel"]}
    body["spec"] = {"ttlSecondsAfterFinished": 60, "request": {"body": {"prompt": "long"}}}
    body["status"] = {
        "conditions": [{"type": "Finished", "status": "True"}],
        "observedGeneration": 1,
        "completionTime": EARLY,
    }
    body["metadata"] |= changes
    return body


def test_of_an_ended_job_no_more_is_kept_than_its_end_and_time_to_live() -> None:
    view = ClusterView()
    view.see(KEY, make_ended(5))
    settled = view.settle(KEY)
    assert settled is not None
    assert (settled.ended, settled.ttl_s) == (EARLY, 60)
    assert "prompt" not in str(view.get(KEY))
    assert (view.keys(Kind.JOB), view.stamps(Kind.JOB)) == ([], {KEY: ("u1", "5")})


@pytest.mark.parametrize(
    "changes",
    [{"deletionTimestamp": LATE}, {"generation": 2}],
    ids=["being deleted", "edited"],
)
def test_an_ended_job_that_needs_something_is_kept_whole(changes: dict[str, Any]) -> None:
    view = ClusterView()
    view.see(KEY, make_ended(5, **changes))
    assert view.settle(KEY) is None
    assert "prompt" in str(view.get(KEY))


def test_an_ended_job_is_whole_again_when_it_changes_and_gone_when_it_goes() -> None:
    view = ClusterView()
    view.see(KEY, make_ended(5))
    view.settle(KEY)
    assert not view.see(KEY, make_ended(4))
    assert view.see(KEY, make_ended(6))
    assert view.settled(KEY) is None
    view.settle(KEY)
    assert not view.forget(KEY, "u2")
    assert view.forget(KEY, "u1")
    assert view.get(KEY) is None


def test_a_refused_pool_holds_on_to_no_more_each_time_it_is_asked_for() -> None:
    view, key = ClusterView(), ObjectKey(Kind.POOL, "team-a", "p")
    meta = {"name": "p", "namespace": "team-a", "uid": "u1", "resourceVersion": "1"}
    view.see(key, {"metadata": meta, "spec": {}})
    depths = set()
    for _ in range(3):
        with pytest.raises(InvalidResource) as caught:
            view.pool(key)
        depths.add(len(caught.traceback))
    assert len(depths) == 1
