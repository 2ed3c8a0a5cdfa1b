"""The LLMJob that is made for a durable HTTP job."""

from dataclasses import fields

import pytest

from llmjobs_api.durable import build_manifest, build_resource_name, check_labels
from llmjobs_api.problems import Problem
from llmjobs_core.jobs import JobKind, NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.resources import build_new_job, parse_llmjob
from llmjobs_core.states import JobClass, JobSource, Recovery

POOL = PoolKey("team-a", "p")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.7}'


def make_job() -> NewJob:
    """Every field that a client can set has another value than its default."""
    return NewJob(
        id=build_job_id(1), pool=POOL, model="m", body=BODY, cost=256, user="someone",
        job_class=JobClass.INTERACTIVE, name="Nightly report", labels={"team": "blue"},
        suspend=True, backoff_limit=7, recovery=Recovery.RESTART, active_deadline_s=10,
        queue_deadline_s=20, ttl_s=30, idempotency_key="http:k", fingerprint="f",
    )  # fmt: skip


def test_the_llmjob_gives_the_same_job_back() -> None:
    job = make_job()
    manifest = build_manifest(job, names_pool=True, inline=None)
    manifest["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    again = build_new_job(parse_llmjob(manifest), POOL, "m")
    differ = {
        field.name
        for field in fields(NewJob)
        if getattr(again, field.name) != getattr(job, field.name)
    }
    # What makes it an LLMJob's job.
    assert differ == {"id", "owner", "resource", "ttl_s", "idempotency_key", "fingerprint"}
    assert (again.source, again.owner, again.ttl_s) == (JobSource.HTTP, "u", -1)
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 30


def test_a_batch_is_kept_with_its_lines() -> None:
    manifest = build_manifest(make_job(), names_pool=False, inline="lines")
    manifest["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    assert manifest["spec"]["batch"] == {"inline": "lines"}
    assert build_new_job(parse_llmjob(manifest), POOL, "m").kind is JobKind.BATCH


def test_the_id_is_the_same_for_the_same_llmjob_and_sorts_by_its_age() -> None:
    def build(uid: str, created: str) -> str:
        manifest = build_manifest(make_job(), names_pool=False, inline=None)
        manifest["metadata"] |= {"uid": uid, "creationTimestamp": created}
        return build_new_job(parse_llmjob(manifest), POOL, "m").id

    old, new = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
    assert build("u", old) == build("u", old)
    assert build("u", old) != build("v", old)
    assert build("v", old) < build("u", new)


def test_the_name_tells_of_key_and_namespace_and_nothing_else() -> None:
    name = build_resource_name("team-a", "http:secret")
    assert name == build_resource_name("team-a", "http:secret")
    assert name != build_resource_name("team-b", "http:secret")
    assert "secret" not in name
    assert build_resource_name("team-a", "") != build_resource_name("team-a", "")


@pytest.mark.parametrize("name", ["team", "example.com/team"])
def test_labels_of_kubernetes_are_taken(name: str) -> None:
    check_labels({name: "x"}, "")


@pytest.mark.parametrize("name", ["a/b/c", "A.b/c"])
def test_labels_that_kubernetes_does_not_take_are_named(name: str) -> None:
    with pytest.raises(Problem) as caught:
        check_labels({name: "x"}, "jobs[0].")
    assert caught.value.param == "jobs[0].labels"
