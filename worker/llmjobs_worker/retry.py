"""Which failures of an engine are worth another try, and when: pure.

A failure is a value here; who sends requests makes it, who owns the job acts on it.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from llmjobs_core.jobs import JobError

RETRY_AFTER_MAX_S = 3600.0
"""A longer Retry-After is cut to this (arbitrary)."""
MESSAGE_MAX = 300
"""Characters of an engine's message that go into the job's status."""
BODY_MAX = 16 * 1024
"""Bytes of an engine's error body that are kept as the result."""

_RETRYABLE_BELOW_500 = frozenset({408, 409, 425, 429})
_PERMANENT_FROM_500 = frozenset({501, 505, 506, 510})
"""Not implemented, wrong version and the like: the same request fails again."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before another try."""

    base_ms: int = 500
    cap_s: float = 60.0

    def plan_wait_ms(self, failures: int, retry_after_s: float | None, dice: random.Random) -> int:
        """Return the wait before the next try after *failures* earlier ones.

        Exponential with full jitter; at least what the engine asked for, with the jitter on top,
        so that requests refused together do not come back together.
        """
        ceiling_ms = min(self.cap_s * 1000, self.base_ms * 2.0 ** min(failures, 30))
        jitter_ms = dice.uniform(0, ceiling_ms)
        asked_ms = min(retry_after_s or 0.0, RETRY_AFTER_MAX_S) * 1000
        return int(asked_ms + jitter_ms)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request to an engine gave no answer."""

    error: JobError
    retryable: bool
    status: int = 0
    """The HTTP status; 0 when there was none."""
    retry_after_s: float | None = None
    """What the engine asked for; None if it did not say."""
    body: bytes = b""
    """An OpenAI error object as JSON."""
    was_taken: bool = True
    """Whether the engine may have begun; False when no connection to it came about."""

    @property
    def may_be_outage(self) -> bool:
        """Whether the engine itself may be gone, so that its health must be asked."""
        return self.retryable and (self.status == 0 or self.status >= 500)


class EngineError(Exception):
    """The engine gave no whole answer; ``failure`` says what that means for the request."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error.code)
        self.failure = failure


def is_retryable_status(status: int) -> bool:
    """Whether the same request may succeed later after this HTTP status."""
    if status >= 500:
        return status not in _PERMANENT_FROM_500
    return status in _RETRYABLE_BELOW_500


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None if absent or unreadable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - now).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None  # noqa: PLR0124 - nan is not a wait


def build_error_body(error: JobError, kind: str) -> bytes:
    """Return *error* as an OpenAI error object; *kind* is its ``type``."""
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}
    )


def build_network_error(code: str, message: str, *, was_taken: bool = True) -> EngineError:
    """Return the error of a request that got no whole answer; worth another try."""
    error = JobError(code, message)
    body = build_error_body(error, "server_error")
    return EngineError(Failure(error, retryable=True, body=body, was_taken=was_taken))


def parse_refusal(status: int, body: bytes, retry_after: str | None, now: datetime) -> Failure:
    """Return what an HTTP answer other than success means."""
    code, message = _parse_error_object(body[:BODY_MAX])
    error = JobError(code or f"http_{status}", message or f"the engine answered {status}")
    kept = body if len(body) <= BODY_MAX and _is_error_object(body) else b""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Failure(
        error,
        retryable=is_retryable_status(status),
        status=status,
        retry_after_s=parse_retry_after(retry_after, now),
        body=kept or build_error_body(error, kind),
    )


def parse_stream_error(error: Any) -> Failure:
    """Return what an error object inside a stream means; *error* is its ``error`` member."""
    body = msgspec.json.encode({"error": error})
    code, message = _parse_error_object(body)
    status = _as_status(error.get("code")) if isinstance(error, dict) else 0
    found = JobError(code or "engine_error", message or "the engine reported an error")
    return Failure(
        found,
        retryable=status == 0 or is_retryable_status(status),
        status=status,
        body=body if len(body) <= BODY_MAX else build_error_body(found, "server_error"),
    )


def _as_status(code: Any) -> int:
    return code if isinstance(code, int) and 400 <= code <= 599 else 0


def _decode(body: bytes) -> Any:
    """Return the JSON in *body*; None where there is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_error_object(body: bytes) -> bool:
    decoded = _decode(body)
    return isinstance(decoded, dict) and isinstance(decoded.get("error"), dict)


def _parse_error_object(body: bytes) -> tuple[str, str]:
    """Return code and message of what may be an OpenAI error, a FastAPI one or plain text."""
    decoded = _decode(body)
    error = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
    if isinstance(error, str):
        return "", bound_message(error)
    if not isinstance(error, dict):
        return "", ""
    code = error.get("code") or error.get("type") or ""
    code = "" if isinstance(code, int) else str(code)[:64]
    message = error.get("message") or error.get("detail") or ""
    return code, bound_message(message) if isinstance(message, str) else ""


def bound_message(message: str) -> str:
    """Return the part of an engine's message that may go into a status.

    Validation errors of some engines repeat the request after ``'input'``: that part is cut.
    """
    cut = message.partition("'input'")[0].partition('"input"')[0]
    return cut if len(cut) <= MESSAGE_MAX else cut[: MESSAGE_MAX - 1] + "…"
