"""What the operator remembers of the cluster."""

from typing import Any

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
