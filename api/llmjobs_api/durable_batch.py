"""A durable batch: it must fit into an LLMJob, so it is read whole and submitted in one step."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

from llmjobs_api.batch_intake import BatchOptions, LineReader, peek_model
from llmjobs_api.context import Gateway
from llmjobs_api.durable import (
    INLINE_BATCH_BYTES,
    check_labels,
    limit_to_resource,
    require_resources,
    submit_durable,
)
from llmjobs_api.identity import Principal, Resource, Verb
from llmjobs_api.intake import build_fingerprint, build_job, invalid_request, resolve
from llmjobs_api.problems import Problem
from llmjobs_core.jobs import BatchLine, JobKind, NewJob, Submitted
from llmjobs_core.requests import InvalidRequest


async def accept_durable_batch(
    gateway: Gateway,
    principal: Principal,
    options: BatchOptions,
    chunks: AsyncIterator[list[bytes]],
    *,
    key: str,
) -> tuple[NewJob, Submitted, int]:
    """Accept the batch whose raw lines come as *chunks*; returns the job and its number of lines.

    Raises problems that name the line or the limit, and as :func:`submit_durable`.
    """
    require_resources(gateway)
    check_labels(options.labels, "")
    namespace = await gateway.choose_namespace(
        principal, Verb.CREATE, Resource.JOBS, options.namespace
    )
    raw = await _read_lines(chunks)
    first = next((line for line in raw if line), b"")
    pool, model = await resolve(
        gateway, namespace, options.pool, options.model or peek_model(first)
    )
    try:
        lines = _parse_lines(gateway, raw, model)
    except InvalidRequest as error:
        raise invalid_request(error) from error
    text = b"\n".join(raw)
    digest = hashlib.blake2b(text, digest_size=16).hexdigest()
    job = build_job(
        options,
        pool=pool,
        model=model,
        user=principal.name,
        endpoint=lines[0].endpoint,
        key=key,
        fingerprint=f"{build_fingerprint(options, None)}{digest}" if key else "",
        kind=JobKind.BATCH,
    )
    job, submitted = await submit_durable(
        gateway, job, names_pool=options.pool is not None, inline=text.decode(), lines=lines
    )
    return replace(job, endpoint=lines[0].endpoint), submitted, len(lines)


async def _read_lines(chunks: AsyncIterator[list[bytes]]) -> list[bytes]:
    """Return all lines, stripped; blank ones stay, so that numbers are those of the file."""
    lines: list[bytes] = []
    size = 0
    async for chunk in chunks:
        for raw in chunk:
            lines.append(raw.strip())
            size += len(lines[-1]) + 1
        if size > INLINE_BATCH_BYTES:
            raise Problem(
                413,
                "body_too_large",
                f"body is larger than {INLINE_BATCH_BYTES} bytes, the limit of a durable batch",
                param="body",
                headers={"Connection": "close"},
            )
    return lines


def _parse_lines(gateway: Gateway, raw: list[bytes], model: str) -> list[BatchLine]:
    reader = LineReader(model, limit_to_resource(gateway.settings.limits))
    lines = []
    for number, data in enumerate(raw, start=1):
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"line {number}", "is not valid UTF-8") from error
        if data:
            lines.append(reader.parse(data, number))
    if not lines:
        raise InvalidRequest("body", "the batch has no lines")
    return lines
