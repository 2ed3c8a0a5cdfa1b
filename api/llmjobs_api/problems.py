"""What is told to a client that can't be served: one error body for both HTTP surfaces.

An RFC 9457 problem with OpenAI's ``error`` member, so that either kind of client finds what it
looks for. It names the field and the limit, and never repeats what the client sent.
"""

from http import HTTPStatus

import msgspec
from starlette.responses import Response

from llmjobs_api.resources import ClusterRefused, ClusterUnavailable, ResourceInvalid
from llmjobs_core.errors import (
    IdempotencyMismatch,
    InvalidCursor,
    JobNotFound,
    LLMJobsError,
    PoolNotFound,
    StateConflict,
    StoreFull,
    StoreUnavailable,
)

MEDIA_TYPE = "application/problem+json"
_DETAIL_MAX = 1024


class Problem(Exception):
    """An answer with status 4xx or 5xx."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        jobs: list[str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        """A short machine word."""
        self.detail = detail[:_DETAIL_MAX]
        """A sentence for people."""
        self.param = param
        """The field at fault, as the client wrote it; None if it is not about a field."""
        self.headers = headers or {}
        self.jobs = jobs
        """Ids of the jobs that were accepted all the same; None when it does not apply."""


class OpenAIError(msgspec.Struct):
    """OpenAI's error object."""

    message: str
    type: str
    code: str
    param: str | None = None


class ProblemBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """The error body: RFC 9457's members, and OpenAI's ``error``."""

    title: str
    status: int
    detail: str
    error: OpenAIError
    type: str = "about:blank"
    request_id: str = ""
    jobs: list[str] | None = None
    """Ids of the jobs of this request that were accepted before it failed."""


_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def build_body(problem: Problem, request_id: str) -> ProblemBody:
    """Return the body of *problem*."""
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    return ProblemBody(
        type=f"urn:llmjobs:problem:{problem.code}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        request_id=request_id,
        jobs=problem.jobs,
        error=OpenAIError(
            message=problem.detail,
            type=_ERROR_TYPES.get(problem.status, kind),
            code=problem.code,
            param=problem.param,
        ),
    )


def build_response(problem: Problem, request_id: str) -> Response:
    """Return *problem* as a response."""
    return Response(
        msgspec.json.encode(build_body(problem, request_id)),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


_REFUSALS: dict[type[LLMJobsError], tuple[int, str, str | None]] = {
    PoolNotFound: (422, "pool_not_found", "model"),
    IdempotencyMismatch: (422, "idempotency_mismatch", "Idempotency-Key"),
    StateConflict: (409, "state_conflict", None),
    InvalidCursor: (400, "invalid_cursor", "cursor"),
    ClusterRefused: (403, "cluster_refused", None),
}
_OUTAGES: dict[type[LLMJobsError], tuple[str, str, str]] = {
    StoreFull: ("store_full", "the job store is full; nothing was accepted", "10"),
    StoreUnavailable: ("store_unavailable", "the job store can't be reached; try again", "2"),
    ClusterUnavailable: (
        "cluster_unavailable",
        "the cluster can't be asked now; try again, with the same Idempotency-Key if it has one",
        "2",
    ),
}
_RESOURCE_FIELDS = {
    "metadata.labels": "labels",
    "metadata.namespace": "namespace",
    "spec.request.body": "body",
    "spec.batch.inline": "body",
}
"""Which field of an HTTP request became which of an LLMJob."""


def from_store_error(error: LLMJobsError) -> Problem:
    """Return what an error of the store means to an HTTP client."""
    if isinstance(error, JobNotFound):
        return job_not_found()
    if isinstance(error, ResourceInvalid):
        detail = f"the cluster does not take the LLMJob of this job: {error}"
        param = _RESOURCE_FIELDS.get(error.fields[0]) if error.fields else None
        return Problem(422, "invalid_request", detail, param=param)
    if refusal := _REFUSALS.get(type(error)):
        status, code, param = refusal
        return Problem(status, code, str(error), param=param)
    if outage := _OUTAGES.get(type(error)):
        code, detail, after_s = outage
        return Problem(503, code, detail, headers={"Retry-After": after_s})
    return Problem(500, "internal_error", "the request could not be handled")


def job_not_found() -> Problem:
    """Return the answer for a job that is not there, or not the caller's to see."""
    return Problem(404, "job_not_found", "there is no such job, or its TTL has passed")


def too_large(param: str, limit_bytes: int) -> Problem:
    """Return the answer for a body over its limit; the connection is closed, not drained."""
    return Problem(
        413,
        "body_too_large",
        f"{param} is larger than {limit_bytes} bytes",
        param=param,
        headers={"Connection": "close"},
    )
