"""What keeps a pool's pods from working, in words."""

from typing import Any

from llmjobs_operator.objects import format_time
from llmjobs_operator.pool_status import STALLED_AFTER_S, UNREADY_AFTER_S, find_trouble

NOW_MS = 1_790_000_000_000


def ago(seconds: float) -> str:
    return format_time(NOW_MS - int(seconds * 1000))


def make_pod(
    *, unready_s: float = 0, ready: bool = False, engine: dict[str, Any] | None = None
) -> dict[str, Any]:
    worker = {
        "name": "worker",
        "ready": ready,
        "state": {"running": {"startedAt": ago(600)}},
    }
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "lastTransitionTime": ago(unready_s),
    }
    status: dict[str, Any] = {
        "startTime": ago(600),
        "conditions": [condition],
        "containerStatuses": [worker],
    }
    if engine is not None:
        status["initContainerStatuses"] = [{"name": "engine", **engine}]
    return {"metadata": {"name": "p-1"}, "status": status}


def test_a_ready_pod_is_no_trouble() -> None:
    assert find_trouble([make_pod(ready=True, unready_s=600)], now_ms=NOW_MS) is None


def test_a_worker_that_is_not_ready_has_an_unhealthy_engine_since_then() -> None:
    pod = make_pod(unready_s=UNREADY_AFTER_S + 1)
    trouble = find_trouble([pod], now_ms=NOW_MS)
    assert trouble is not None
    assert (trouble.reason, trouble.stalled) == ("EngineUnhealthy", False)
    assert ago(UNREADY_AFTER_S + 1) in trouble.message


def test_a_worker_has_a_moment_to_get_ready() -> None:
    assert find_trouble([make_pod(unready_s=UNREADY_AFTER_S - 1)], now_ms=NOW_MS) is None


def test_an_engine_that_stays_unhealthy_stalls_its_pool_in_the_same_words() -> None:
    pod = make_pod(unready_s=10)
    early = find_trouble([pod], now_ms=NOW_MS)
    late = find_trouble([pod], now_ms=NOW_MS + STALLED_AFTER_S * 1000)
    assert early is not None
    assert late is not None
    assert late.stalled
    assert early.message == late.message


def test_an_engine_that_loads_its_model_is_named_and_no_warning() -> None:
    engine = {"started": False, "state": {"running": {"startedAt": ago(30)}}}
    trouble = find_trouble([make_pod(engine=engine)], now_ms=NOW_MS)
    assert trouble is not None
    assert (trouble.reason, trouble.stalled, trouble.warns) == ("EngineStarting", False, False)


def test_an_engine_that_was_restarted_without_getting_healthy_is_unhealthy() -> None:
    engine = {
        "started": False,
        "restartCount": 2,
        "state": {"running": {"startedAt": ago(3)}},
    }
    trouble = find_trouble([make_pod(engine=engine)], now_ms=NOW_MS)
    assert trouble is not None
    assert (trouble.reason, trouble.stalled) == ("EngineUnhealthy", True)


def test_a_container_that_can_not_start_comes_before_one_that_is_not_ready() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pods = [make_pod(unready_s=60), make_pod(engine={"started": False, "state": waiting})]
    trouble = find_trouble(pods, now_ms=NOW_MS)
    assert trouble is not None
    assert trouble.reason == "ImagePullFailed"
