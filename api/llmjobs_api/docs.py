"""The OpenAPI document: bodies and answers by the names of their schemas. Pure.

Routes read and write bytes themselves, so what they take and give is said here and taken from
``schemas``, from which the decoding is made too.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from llmjobs_api import schemas
from llmjobs_api.problems import MEDIA_TYPE, ProblemBody
from llmjobs_core.requests import ENDPOINTS

Responses = dict[int | str, dict[str, Any]]

_COMPONENTS = [
    ProblemBody,
    schemas.JobRequest,
    schemas.ManyJobs,
    schemas.JobPatch,
    schemas.SubmittedView,
    schemas.SubmittedJobs,
    schemas.JobView,
    schemas.JobList,
    schemas.RetryReport,
    schemas.PoolView,
    schemas.PoolList,
    schemas.GenerateRequest,
    schemas.TaskAccepted,
    schemas.TaskStatus,
    schemas.TaskProgress,
    schemas.HealthView,
]

PROBLEMS = {
    400: "Something can't be read: JSON, a cursor, a header.",
    401: "The caller is not known.",
    403: "The caller may not do this.",
    404: "There is no such job, or it is not the caller's.",
    409: "The job's state does not allow this.",
    413: "The body is over its limit.",
    415: "The Content-Type is not one of those taken.",
    422: "A field is wrong; `error.param` names it.",
    429: "Too many watchers at once.",
    500: "A part of this process has died.",
    503: "The store or the cluster can't be asked now; `Retry-After` says when to try again.",
}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def problems(*statuses: int) -> Responses:
    """Return the documentation of error answers; every route can give 401 and 503."""
    return {
        status: {
            "description": PROBLEMS[status],
            "content": {MEDIA_TYPE: {"schema": ref("ProblemBody")}},
        }
        for status in sorted({401, 503, *statuses})
    }


def answer(
    schema: str | dict[str, Any], description: str, media_type: str = "application/json"
) -> dict[str, Any]:
    """Return the documentation of one answer."""
    found = ref(schema) if isinstance(schema, str) else schema
    return {"description": description, "content": {media_type: {"schema": found}}}


def text_answer(description: str, media_type: str) -> dict[str, Any]:
    """Return the documentation of an answer that is text."""
    return answer({"type": "string"}, description, media_type)


def json_body(*names: str) -> dict[str, Any]:
    """Return ``openapi_extra`` for a JSON body of one of these schemas."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _one_of(names)}},
        }
    }


def header_parameters(descriptions: Mapping[str, str]) -> dict[str, Any]:
    """Return ``openapi_extra`` for optional headers that a route reads itself."""
    return {
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": description,
            }
            for name, description in descriptions.items()
        ]
    }


def submit_body() -> dict[str, Any]:
    """Return ``openapi_extra`` for ``POST /jobs``."""
    lines = {"schema": {"type": "string", "description": "OpenAI batch lines."}}
    extra = json_body("JobRequest", "ManyJobs")
    extra["requestBody"]["content"] |= {"application/x-ndjson": lines, "application/jsonl": lines}
    return extra


def _one_of(names: tuple[str, ...]) -> dict[str, Any]:
    return ref(names[0]) if len(names) == 1 else {"anyOf": [ref(name) for name in names]}


def build_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of *app*."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    components = document.setdefault("components", {})
    found = components.get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        found.pop(name, None)
    components["schemas"] = found | schemas.build_components(_COMPONENTS)
    components["schemas"]["JobRequest"]["properties"]["endpoint"]["enum"] = list(ENDPOINTS)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"bearer": []}]
    return document
