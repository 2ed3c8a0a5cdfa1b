"""Durable jobs: accepted as an LLMJob first, so that they outlive even an emptied store.

The LLMJob is created, then its job is submitted to the store at once, as the operator would do it:
with the same id and key, so whoever comes first makes the one job. Where the store fails in
between, the job is accepted all the same, and the operator brings it in.
"""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import msgspec
import structlog

from llmjobs_api.context import Gateway
from llmjobs_api.problems import Problem
from llmjobs_api.resources import JobResources, ResourceExists, ResourceGone
from llmjobs_core.errors import (
    IdempotencyMismatch,
    JobNotFound,
    PoolNotFound,
    RetryableError,
    StateConflict,
)
from llmjobs_core.jobs import BatchLine, JobKind, NewJob, Submitted
from llmjobs_core.names import (
    API_VERSION,
    FINGERPRINT_ANNOTATION,
    JOB_FINALIZER,
    SOURCE_ANNOTATION,
    TITLE_ANNOTATION,
    USER_ANNOTATION,
    build_job_id,
)
from llmjobs_core.requests import DEFAULT_LIMITS, RequestLimits
from llmjobs_core.resources import InvalidResource, build_new_job, parse_llmjob
from llmjobs_core.states import JobSource, JobState

log = structlog.get_logger(__name__)

INLINE_BATCH_BYTES = 524_288
"""Most that ``spec.batch.inline`` of an LLMJob holds."""

_LABEL = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
)
"""Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"""


def require_resources(gateway: Gateway, where: str = "") -> JobResources:
    """Return what makes LLMJobs; raises the 422 problem where this gateway has no such access."""
    if gateway.resources is None:
        raise Problem(
            422,
            "durable_unavailable",
            f"{where}durable: this gateway makes no LLMJobs (LLMJOBS_DURABLE_JOBS is off)",
            param=f"{where}durable",
        )
    return gateway.resources


def check_labels(labels: Mapping[str, str], where: str) -> None:
    """Raise the 422 problem unless Kubernetes takes *labels* too."""
    if all(_LABEL.fullmatch(name) for name in labels):
        return
    detail = f"{where}labels: of a durable job, each must be a valid label of Kubernetes"
    raise Problem(422, "invalid_request", detail, param=f"{where}labels")


def limit_to_resource(limits: RequestLimits) -> RequestLimits:
    """Return the tighter of *limits* and of what an LLMJob may hold, bound by bound."""
    names = [field.name for field in fields(RequestLimits)]
    return RequestLimits(
        **{name: min(getattr(limits, name), getattr(DEFAULT_LIMITS, name)) for name in names}
    )


def build_resource_name(namespace: str, key: str) -> str:
    """Return the LLMJob's name: always the same for the same *key*, a new one without any."""
    if not key:
        return "http-" + build_job_id(time.time_ns() // 1_000_000).removeprefix("job-")
    return "http-" + hashlib.sha256(f"{namespace}\0{key}".encode()).hexdigest()[:32]


def build_manifest(job: NewJob, *, names_pool: bool, inline: str | None) -> dict[str, Any]:
    """Return the LLMJob that says all that *job* does; *inline* has the lines of a batch."""
    spec: dict[str, Any] = {
        "model": job.model,
        "class": job.job_class.value,
        "suspend": job.suspend,
        "backoffLimit": job.backoff_limit,
        "recovery": job.recovery.value,
        "ttlSecondsAfterFinished": job.ttl_s,
    }
    if inline is not None:
        spec["batch"] = {"inline": inline}
    else:
        spec["request"] = {"endpoint": job.endpoint, "body": msgspec.json.decode(job.body)}
    if names_pool:
        spec["poolRef"] = {"name": job.pool.name}
    if job.active_deadline_s is not None:
        spec["activeDeadlineSeconds"] = job.active_deadline_s
    if job.queue_deadline_s is not None:
        spec["queueDeadlineSeconds"] = job.queue_deadline_s
    annotations = {
        SOURCE_ANNOTATION: JobSource.HTTP.value,
        USER_ANNOTATION: job.user,
        TITLE_ANNOTATION: job.name,
        FINGERPRINT_ANNOTATION: job.fingerprint,
    }
    namespace = job.pool.namespace
    return {
        "apiVersion": API_VERSION,
        "kind": "LLMJob",
        "metadata": {
            "name": build_resource_name(namespace, job.idempotency_key),
            "namespace": namespace,
            "labels": dict(job.labels),
            "annotations": {name: value for name, value in annotations.items() if value},
            # Before the operator has seen it, its work may run: deleting it must end that.
            "finalizers": [JOB_FINALIZER],
        },
        "spec": spec,
    }


async def submit_durable(
    gateway: Gateway,
    job: NewJob,
    *,
    names_pool: bool,
    inline: str | None = None,
    lines: Sequence[BatchLine] = (),
) -> tuple[NewJob, Submitted]:
    """Accept *job* as an LLMJob, and submit it; a batch comes as *inline* and as its *lines*.

    Returns the job as it is in the store, or will be: where the store takes it only later, its
    state is ``Pending``. Raises problems, IdempotencyMismatch, and the errors of the store (then
    nothing was accepted) and of ``resources``.
    """
    resources = require_resources(gateway)
    # While the store takes nothing, nothing is accepted: a client could not even ask for it.
    await gateway.store.check_writable()
    manifest = build_manifest(job, names_pool=names_pool, inline=inline)
    _check_as_resource(manifest)
    body, created = await _create(resources, manifest)
    new = build_new_job(parse_llmjob(body), job.pool, job.model, status=body.get("status"))
    ended = _ended_state(body)
    if ended is not None:
        return new, Submitted(new.id, False, ended)
    state = await _hand_over(gateway, new, lines)
    if created:
        gateway.metrics.submitted.labels(new.kind.value).inc()
    return new, Submitted(new.id, created, state)


def _check_as_resource(manifest: Mapping[str, Any]) -> None:
    """Raise the 422 problem for what the operator would refuse once it is there."""
    made = {"uid": "none-yet", "creationTimestamp": "1970-01-01T00:00:00Z"}
    try:
        parse_llmjob({**manifest, "metadata": {**manifest["metadata"], **made}})
    except InvalidResource as error:
        raise Problem(422, "invalid_request", str(error), param=error.field) from error


async def _create(
    resources: JobResources, manifest: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Return the LLMJob, and whether it was made by this call."""
    meta = manifest["metadata"]
    try:
        return await resources.create_job(manifest), True
    except ResourceGone as error:
        detail = "the cluster has no such namespace"
        raise Problem(422, "namespace_not_found", detail, param="namespace") from error
    except ResourceExists:
        pass
    try:
        found = await resources.fetch_job(meta["namespace"], meta["name"])
    except ResourceGone as error:
        raise _being_deleted() from error
    if found["metadata"].get("deletionTimestamp"):
        raise _being_deleted()
    annotations = found["metadata"].get("annotations") or {}
    if annotations.get(FINGERPRINT_ANNOTATION) != meta["annotations"].get(FINGERPRINT_ANNOTATION):
        raise IdempotencyMismatch("the idempotency key belongs to another request")
    return found, False


def _being_deleted() -> Problem:
    return Problem(
        409,
        "state_conflict",
        "the job of this idempotency key is being deleted; try again",
        param="Idempotency-Key",
        headers={"Retry-After": "1"},
    )


def _ended_state(body: Mapping[str, Any]) -> JobState | None:
    """Return how the job of an LLMJob ended by its status; None if it has not."""
    status: Mapping[str, Any] = body.get("status") or {}
    finished = any(
        item.get("type") == "Finished" and item.get("status") == "True"
        for item in status.get("conditions") or []
    )
    return JobState(status["phase"]) if finished else None


async def _hand_over(gateway: Gateway, new: NewJob, lines: Sequence[BatchLine]) -> JobState:
    """Submit the job as the operator will, too; returns ``Pending`` if it is left to that."""
    store = gateway.store
    try:
        submitted = await store.submit(new)
        if new.kind is JobKind.REQUEST or submitted.state is not JobState.PENDING:
            return submitted.state
        # Where it was sealed already, the operator did.
        with suppress(StateConflict):
            await store.append_lines(new.id, 0, lines)
            return await store.seal(new.id)
        return (await store.fetch(new.id)).state
    except (RetryableError, PoolNotFound, JobNotFound) as error:
        # The last: the operator was first, and the job has ended and gone already.
        log.warning("durable_job_left_to_operator", job=new.id, cause=type(error).__name__)
        return JobState.PENDING
