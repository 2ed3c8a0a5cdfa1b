"""A batch that is streamed in: one job, its lines written to the store as they arrive.

Memory is bounded whatever the batch's size: some lines, and the custom ids seen so far. A bad line
ends the upload and leaves nothing behind, and so does a full store. An upload that broke off goes
on by its idempotency key: lines that are there already are compared, not trusted.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect

from llmjobs_api.context import Gateway
from llmjobs_api.identity import Principal, Resource, Verb
from llmjobs_api.intake import build_fingerprint, build_job, invalid_request, resolve
from llmjobs_api.problems import Problem
from llmjobs_api.schemas import JobOptions, Model, explain_error
from llmjobs_core.errors import StoreFull
from llmjobs_core.jobs import BatchLine, JobKind, NewJob, Submitted
from llmjobs_core.requests import InvalidRequest, RequestLimits, parse_batch_line
from llmjobs_core.states import JobReason, JobState
from llmjobs_core.store import JobStore

FLUSH_LINES = 500
FLUSH_BYTES = 1_048_576
_LONG_ID = 48


class BatchOptions(JobOptions, forbid_unknown_fields=True, kw_only=True):
    """A batch's options; they come as query parameters, beside its lines."""

    model: Model | None = None
    """The model of every line; by default what the first line names."""


def parse_options(query: QueryParams) -> BatchOptions:
    """Return the options in the query string; raises the 422 problem."""
    values: dict[str, Any] = {name: query[name] for name in query}
    labels: dict[str, str] = {}
    for text in query.getlist("label"):
        name, _, value = text.partition("=")
        labels[name] = value
    values.pop("label", None)
    if labels:
        values["labels"] = labels
    try:
        return msgspec.convert(values, BatchOptions, strict=False)
    except msgspec.ValidationError as error:
        field, text = explain_error(error)
        raise Problem(422, "invalid_request", text, param=field) from error


class _Peek(msgspec.Struct):
    body: dict[str, Any] = msgspec.field(default_factory=dict)


def peek_model(data: bytes) -> str:
    """Return the model that a line names; empty when it does not, or is no valid line."""
    try:
        model = msgspec.json.decode(data, type=_Peek).body.get("model")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return model if isinstance(model, str) else ""


async def begin_batch(store: JobStore, job: NewJob) -> Submitted:
    """Make a batch's job; one that its key began, and that was given up, gives way to it."""
    submitted = await store.submit(job)
    if submitted.created or submitted.state is not JobState.FAILED:
        return submitted
    found = await store.fetch(submitted.job_id)
    if found.reason != JobReason.INPUT_ABANDONED:
        return submitted
    await store.remove(found.id)
    return await store.submit(job)


class LineReader:
    """Turns raw lines into validated ones, for one model."""

    def __init__(self, model: str, limits: RequestLimits) -> None:
        self._model = model
        self._limits = limits
        self._seen: set[str | bytes] = set()

    def parse(self, data: bytes, number: int) -> BatchLine:
        """Return line *number*; raises InvalidRequest."""
        if len(self._seen) >= self._limits.batch_lines:
            detail = f"a batch has at most {self._limits.batch_lines} lines"
            raise InvalidRequest(f"line {number}", detail)
        line = parse_batch_line(data, number, model=self._model, limits=self._limits)
        known = len(self._seen)
        name = line.custom_id
        short = len(name) <= _LONG_ID
        self._seen.add(name if short else hashlib.blake2b(name.encode(), digest_size=16).digest())
        if len(self._seen) == known:
            raise InvalidRequest(f"line {number}", "custom_id is used by an earlier line")
        return line


class _Upload:
    """Writes lines to one batch job, in order."""

    def __init__(self, gateway: Gateway, job: NewJob, submitted: Submitted) -> None:
        self._store = gateway.store
        self.job = job
        self.submitted = submitted
        self.total = 0
        self._lines: list[BatchLine] = []
        self._size = 0

    async def add(self, line: BatchLine) -> None:
        """Take a line; some go to the store together."""
        self._lines.append(line)
        self._size += len(line.body)
        if len(self._lines) >= FLUSH_LINES or self._size >= FLUSH_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if not lines:
            return
        if not self.submitted.created:
            await self._compare(lines)
        if self.submitted.state is JobState.PENDING:
            await self._store.append_lines(self.submitted.job_id, self.total, lines)
        self.total += len(lines)

    async def _compare(self, lines: list[BatchLine]) -> None:
        """Raise the 422 problem if lines that are there already are not the same."""
        stored = await self._store.fetch_lines(self.submitted.job_id, self.total, len(lines))
        pending = self.submitted.state is JobState.PENDING
        for old, new in zip(stored, lines, strict=True):
            if old != new and not (old is None and pending):
                raise _mismatch()

    async def seal(self) -> Submitted:
        """End the input; returns the job as it is then."""
        await self._flush()
        if self.submitted.state is JobState.PENDING:
            state = await self._store.seal(self.submitted.job_id)
            return Submitted(self.submitted.job_id, self.submitted.created, state)
        record = await self._store.fetch(self.submitted.job_id)
        if record.counts.total != self.total:
            raise _mismatch()
        return self.submitted

    async def drop(self, *, resumed: bool) -> None:
        """Leave nothing of a job that this upload made or, with *resumed*, went on with."""
        if not self.submitted.created and not (
            resumed and self.submitted.state is JobState.PENDING
        ):
            return
        await self._store.cancel(self.submitted.job_id, "its upload was not complete")
        await self._store.remove(self.submitted.job_id)


def _mismatch() -> Problem:
    return Problem(
        422,
        "idempotency_mismatch",
        "the idempotency key belongs to a batch with other lines",
        param="Idempotency-Key",
    )


class BatchIntake:
    """Takes one batch's raw lines as they come, and makes its job with the first of them."""

    def __init__(
        self,
        gateway: Gateway,
        principal: Principal,
        options: BatchOptions,
        *,
        namespace: str,
        key: str,
    ) -> None:
        self._gateway = gateway
        self._principal = principal
        self._options = options
        self._namespace = namespace
        self._key = key
        self._number = 0
        self._reader: LineReader | None = None
        self._upload: _Upload | None = None

    async def feed(self, raw: bytes) -> None:
        """Take the next line; raises InvalidRequest, problems and the store's errors."""
        self._number += 1
        data = raw.strip()
        if not data:
            return
        if self._upload is None or self._reader is None:
            self._upload, self._reader = await self._open(data)
        await self._upload.add(self._reader.parse(data, self._number))

    async def _open(self, first: bytes) -> tuple[_Upload, LineReader]:
        gateway, options = self._gateway, self._options
        limits = gateway.settings.limits
        pool, model = await resolve(
            gateway, self._namespace, options.pool, options.model or peek_model(first)
        )
        line = parse_batch_line(first, self._number, model=model, limits=limits)
        job = build_job(
            options,
            pool=pool,
            model=model,
            user=self._principal.name,
            endpoint=line.endpoint,
            key=self._key,
            fingerprint=build_fingerprint(options, None) if self._key else "",
            kind=JobKind.BATCH,
            cost=line.cost,
        )
        submitted = await begin_batch(gateway.store, job)
        return _Upload(gateway, job, submitted), LineReader(model, limits)

    async def finish(self) -> tuple[NewJob, Submitted, int]:
        """End the batch; returns its job and its number of lines."""
        if self._upload is None:
            raise InvalidRequest("body", "the batch has no lines")
        submitted = await self._upload.seal()
        if submitted.created:
            self._gateway.metrics.submitted.labels(JobKind.BATCH.value).inc()
        return self._upload.job, submitted, self._upload.total

    async def abandon(self, *, resumed: bool = False) -> None:
        """Leave nothing of a batch that this upload began or, with *resumed*, went on with."""
        if self._upload is not None:
            await self._upload.drop(resumed=resumed)

    @property
    def is_resumable(self) -> bool:
        """Whether the client can come back and go on."""
        return bool(self._key)


async def accept_batch(
    gateway: Gateway,
    principal: Principal,
    options: BatchOptions,
    chunks: AsyncIterator[list[bytes]],
    *,
    key: str,
) -> tuple[NewJob, Submitted, int]:
    """Write the batch whose raw lines come as *chunks*; returns the job and its number of lines.

    Raises problems that name the line, and the store's errors.
    """
    namespace = await gateway.choose_namespace(
        principal, Verb.CREATE, Resource.JOBS, options.namespace
    )
    intake = BatchIntake(gateway, principal, options, namespace=namespace, key=key)
    try:
        async for chunk in chunks:
            for raw in chunk:
                await intake.feed(raw)
        return await intake.finish()
    except InvalidRequest as error:
        await intake.abandon()
        raise invalid_request(error) from error
    except Problem:
        await intake.abandon()
        raise
    except StoreFull:
        # A part of a batch in a full store would only keep it full.
        await intake.abandon(resumed=True)
        raise
    except ClientDisconnect:
        if not intake.is_resumable:
            await intake.abandon()
        raise
