"""Reading request bodies without ever holding more than the limit."""

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from llmjobs_api.problems import Problem, too_large

JSON = "application/json"
JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/jsonlines")

__all__ = ["JSON", "JSON_LINES", "ClientDisconnect", "iterate_lines", "media_type", "read_body"]


def media_type(request: Request) -> str:
    """Return the request's media type without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_json(request: Request) -> None:
    """Raise the 415 problem unless the body is said to be JSON."""
    if media_type(request) != JSON:
        raise unsupported_media_type((JSON,))


def unsupported_media_type(accepted: tuple[str, ...]) -> Problem:
    """Return the answer to a body of the wrong Content-Type."""
    return Problem(
        415,
        "unsupported_media_type",
        f"Content-Type must be {' or '.join(accepted)}",
        param="Content-Type",
        headers={"Accept-Post": ", ".join(accepted)},
    )


def _declared_size(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Return the whole body; raises the 413 problem as soon as it is past *limit_bytes*."""
    if _declared_size(request) > limit_bytes:
        raise too_large("body", limit_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise too_large("body", limit_bytes)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def iterate_lines(
    request: Request, *, limit_bytes: int, line_limit_bytes: int
) -> AsyncIterator[list[bytes]]:
    """Yield the body's lines as they arrive, some at a time, without their line ends.

    Holds one network read and one unfinished line at most. Raises the 413 problem past
    *limit_bytes*, or for a line past *line_limit_bytes*.
    """
    if _declared_size(request) > limit_bytes:
        raise too_large("body", limit_bytes)
    size, number, rest = 0, 0, b""
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise too_large("body", limit_bytes)
        lines = (rest + part).split(b"\n")
        rest = lines.pop()
        number += len(lines)
        if len(rest) > line_limit_bytes:
            raise too_large(f"line {number + 1}", line_limit_bytes)
        if lines:
            yield lines
    if rest:
        yield [rest]
