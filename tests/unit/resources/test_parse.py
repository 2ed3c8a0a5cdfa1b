"""What an old API server lets through is refused here, by field and limit."""

from typing import Any

import pytest

from llmjobs_core.resources import InvalidResource, parse_llmjob, parse_pool

META = {"name": "a", "namespace": "default", "uid": "u-1", "generation": 1}
PROMPT: dict[str, Any] = {"endpoint": "/v1/completions", "body": {"prompt": "hi"}}


def job(**spec: Any) -> dict[str, Any]:
    return {"metadata": META, "spec": spec}


def pool(**spec: Any) -> dict[str, Any]:
    return {"metadata": META, "spec": spec}


def test_defaults_are_those_of_the_schema() -> None:
    spec = parse_llmjob(job(model="m", request=PROMPT)).spec
    assert (spec.job_class, spec.backoff_limit, spec.suspend) == ("standard", 3, False)


def test_unknown_body_fields_are_kept() -> None:
    body = {"prompt": "hi", "guided_regex": "a+"}
    parsed = parse_llmjob(job(model="m", request={"endpoint": "/v1/completions", "body": body}))
    assert parsed.spec.request is not None
    assert parsed.spec.request.body == body


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec"),
        ({"request": PROMPT, "batch": {"inline": "x"}, "model": "m"}, "spec"),
        ({"request": PROMPT}, "spec.model"),
        ({"request": {"body": {}}, "model": "m"}, "spec.request.body.messages"),
        ({"request": PROMPT, "model": "m", "backoffLimit": 101}, "spec.backoffLimit"),
        ({"request": PROMPT, "model": "m", "wrong": 1}, "spec.wrong"),
        ({"batch": {}, "model": "m"}, "spec.batch"),
        (
            {"request": {"endpoint": "/v1/completions", "body": {"prompt": "x", "model": "n"}}}
            | {"model": "m"},
            "spec.request.body.model",
        ),
    ],
)
def test_wrong_job_is_refused_by_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse_llmjob(job(**spec))
    assert refused.value.field == field


def test_refusal_never_repeats_the_prompt() -> None:
    secret = "the-secret-prompt"
    bad = {"endpoint": "/v1/completions", "body": {"prompt": {"x": secret}}}
    with pytest.raises(InvalidResource) as refused:
        parse_llmjob(job(model="m", request=bad))
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"models": ["m"], "engine": {}}, "spec.engine"),
        ({"models": [], "engine": {"external": {"baseURL": "http://x"}}}, "spec.models"),
        (
            {"models": ["m"], "engine": {"external": {"baseURL": "http://x"}}}
            | {"scaling": {"minReplicas": 3, "maxReplicas": 2}},
            "spec.scaling.minReplicas",
        ),
        (
            {"models": ["m"], "engine": {"external": {"baseURL": "ftp://x"}}},
            "spec.engine.external.baseURL",
        ),
    ],
)
def test_wrong_pool_is_refused_by_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse_pool(pool(**spec))
    assert refused.value.field == field
