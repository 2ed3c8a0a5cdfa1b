"""Which failures are tried again, and when."""

import json
import random
from datetime import UTC, datetime

import pytest

from llmjobs_worker.retry import (
    BODY_MAX,
    MESSAGE_MAX,
    RETRY_AFTER_MAX_S,
    RetryPolicy,
    build_network_error,
    is_retryable_status,
    parse_refusal,
    parse_retry_after,
    parse_stream_error,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
POLICY = RetryPolicy(base_ms=100, cap_s=2.0)


@pytest.mark.parametrize(
    ("status", "want"),
    [
        (400, False), (401, False), (403, False), (404, False), (405, False), (413, False),
        (415, False), (422, False), (501, False), (505, False), (302, False),
        (408, True), (409, True), (425, True), (429, True),
        (500, True), (502, True), (503, True), (504, True), (529, True),
    ],
)  # fmt: skip
def test_only_what_may_pass_is_retryable(status: int, want: bool) -> None:
    assert is_retryable_status(status) is want


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("nan", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, want: float | None) -> None:
    assert parse_retry_after(value, NOW) == want


@pytest.mark.parametrize(
    ("failures", "ceiling_ms"), [(0, 100), (1, 200), (4, 1600), (5, 2000), (99, 2000)]
)
def test_waits_grow_by_two_up_to_the_cap_with_full_jitter(failures: int, ceiling_ms: int) -> None:
    dice = random.Random(1)
    waits = [POLICY.plan_wait_ms(failures, None, dice) for _ in range(500)]
    assert max(waits) <= ceiling_ms
    assert min(waits) < ceiling_ms * 0.1
    assert max(waits) > ceiling_ms * 0.9


def test_what_the_engine_asks_for_is_the_least_wait() -> None:
    waits = [POLICY.plan_wait_ms(0, 7.0, random.Random(i)) for i in range(20)]
    assert all(7000 <= wait <= 7100 for wait in waits)
    assert len(set(waits)) > 1


def test_an_absurd_retry_after_is_cut() -> None:
    assert POLICY.plan_wait_ms(0, 1e12, random.Random(1)) <= RETRY_AFTER_MAX_S * 1000 + 100


def test_a_refusal_that_is_no_utf_8_is_a_refusal_all_the_same() -> None:
    failure = parse_refusal(400, b'{"error":{"message":"caf\xe9"}}', None, NOW)
    assert (failure.error.code, failure.retryable) == ("http_400", False)


def test_an_openai_refusal_keeps_code_message_and_body() -> None:
    body = (
        b'{"error":{"message":"too long","type":"invalid_request_error","code":"context_length"}}'
    )
    failure = parse_refusal(400, body, None, NOW)
    assert (failure.error.code, failure.error.message) == ("context_length", "too long")
    assert failure.body == body
    assert not failure.retryable


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"error":"model is loading"}', "model is loading"),
        (b"<html>oops</html>", "the engine answered 503"),
        (b"\xff\xfe", "the engine answered 503"),
        (b"[1]", "the engine answered 503"),
    ],
)
def test_other_refusals_become_openai_error_objects(body: bytes, message: str) -> None:
    failure = parse_refusal(503, body, "2", NOW)
    assert json.loads(failure.body)["error"]["message"] == message
    assert failure.error.code == "http_503"
    assert failure.retry_after_s == 2.0
    assert failure.retryable


def test_a_message_is_bounded_and_never_repeats_the_request() -> None:
    long = json.dumps({"error": {"message": "x" * 5000}}).encode()
    assert len(parse_refusal(400, long, None, NOW).error.message) == MESSAGE_MAX
    echo = json.dumps({"error": {"message": "bad: [{'msg': 'no', 'input': 'my secret'}]"}}).encode()
    assert "secret" not in parse_refusal(400, echo, None, NOW).error.message


def test_a_huge_error_body_is_replaced() -> None:
    huge = json.dumps({"error": {"message": "m", "extra": "x" * BODY_MAX}}).encode()
    assert len(parse_refusal(400, huge, None, NOW).body) < 1000


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        ({"message": "engine died", "code": 500}, True),
        ({"message": "bad grammar", "code": 400}, False),
        ({"message": "no code"}, True),
        ("just text", True),
    ],
)
def test_an_error_inside_a_stream_is_judged_by_its_code(error: object, retryable: bool) -> None:
    assert parse_stream_error(error).retryable is retryable


def test_a_network_failure_is_retryable_and_has_a_body() -> None:
    failure = build_network_error("engine_unreachable", "gone").failure
    assert failure.retryable
    assert json.loads(failure.body)["error"]["code"] == "engine_unreachable"
