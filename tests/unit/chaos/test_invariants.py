"""Each invariant of the chaos suite can fail: a checker that can't is worth nothing."""

from dataclasses import replace

import pytest

from llmjobs_chaos.invariants import Found, Recount, check
from llmjobs_chaos.ledger import Ledger, Watched


def make_ledger() -> Ledger:
    """Return three jobs: one single, one cancelled, one batch of two; all accepted."""
    ledger = Ledger()
    ledger.plan((5, 0.0)).ids.add("single")
    cancelled = ledger.plan((5, 0.0))
    cancelled.ids.add("cancelled")
    cancelled.is_cancelled = True
    ledger.plan((3, 0.0), (4, 0.0), is_batch=True).ids.add("batch")
    return ledger


def make_recount(ledger: Ledger) -> Recount:
    """Return a store in which all is well."""
    single, cancelled, batch = ledger.jobs[:3]
    whole = single.requests[0].text
    done = Found("Succeeded", "", True, {0: whole}, whole, ["Succeeded"])
    partly = cancelled.requests[0].text[:4]
    lines = {line: wanted.text for line, wanted in enumerate(batch.requests)}
    return Recount(
        jobs={
            "single": done,
            "cancelled": Found("Cancelled", "", True, {}, partly, ["Cancelled"]),
            "batch": Found("Succeeded", "", True, lines, "", ["Succeeded"]),
        },
        listed=["single", "cancelled", "batch"],
        outcomes={"Succeeded": 2, "Cancelled": 1},
        succeeded_requests=3,
    )


def change(recount: Recount, job_id: str, **fields: object) -> Recount:
    """Return *recount* with one job changed."""
    return replace(recount, jobs={**recount.jobs, job_id: replace(recount.jobs[job_id], **fields)})  # type: ignore[arg-type]


def test_a_good_run_breaks_nothing() -> None:
    ledger = make_ledger()
    assert check(ledger, make_recount(ledger)) == []


@pytest.mark.parametrize(
    ("job_id", "fields", "says"),
    [
        ("single", {"state": "Running", "is_terminal": False}, "never ended"),
        ("single", {"state": "Failed"}, "is Failed"),
        ("single", {"results": {}}, "0 results for 1 requests"),
        ("single", {"results": {0: "t0 t2 "}}, "wrong text"),
        ("single", {"told": "s1.t0 s1.t0 "}, "events do not give its text"),
        ("cancelled", {"told": "another"}, "events give a wrong text"),
        ("single", {"ends": ["Succeeded", "Succeeded"]}, "its events end with"),
        ("single", {"ends": []}, "its events end with"),
        ("cancelled", {"state": "Succeeded"}, "cancel acknowledged is True"),
        ("single", {"state": "Cancelled"}, "cancel acknowledged is False"),
        ("batch", {"results": {0: "x"}}, "1 results for 2 requests"),
    ],
)
def test_a_wrong_job_is_seen(job_id: str, fields: dict[str, object], says: str) -> None:
    ledger = make_ledger()
    found = check(ledger, change(make_recount(ledger), job_id, **fields))
    assert any(says in sentence for sentence in found), found


def test_swapped_answers_are_seen() -> None:
    ledger = make_ledger()
    recount = make_recount(ledger)
    first, second = recount.jobs["batch"].results.values()
    found = check(ledger, change(recount, "batch", results={0: second, 1: first}))
    assert found == ["key-2 line 0 has a wrong text", "key-2 line 1 has a wrong text"]


def test_a_lost_job_is_seen() -> None:
    ledger = make_ledger()
    recount = make_recount(ledger)
    rest = {name: found for name, found in recount.jobs.items() if name != "single"}
    assert "key-0 was accepted and is lost" in check(ledger, replace(recount, jobs=rest))


def test_a_refused_job_that_is_there_all_the_same_is_seen() -> None:
    ledger = make_ledger()
    ledger.plan((1, 0.0))
    found = check(ledger, replace(make_recount(ledger), listed=["single", "ghost"]))
    assert {"key-3 was never accepted", "ghost is in the store, and no client was told of it"} <= {
        *found
    }


def test_two_jobs_for_one_key_are_seen() -> None:
    ledger = make_ledger()
    ledger.jobs[0].ids.add("twin")
    assert "key-0 made 2 jobs" in check(ledger, make_recount(ledger))


def test_a_request_that_completed_twice_is_seen_by_the_counters() -> None:
    ledger = make_ledger()
    found = check(ledger, replace(make_recount(ledger), succeeded_requests=4))
    assert found == ["4 requests completed, with 3 results"]


def test_counters_that_differ_are_seen() -> None:
    ledger = make_ledger()
    found = check(ledger, replace(make_recount(ledger), outcomes={"Succeeded": 3}))
    assert len(found) == 1
    assert "the counters say" in found[0]


def test_a_terminal_state_that_was_left_is_seen() -> None:
    ledger = make_ledger()
    ledger.jobs[0].note_end("Failed")
    ledger.jobs[0].note_end("Succeeded")
    assert "key-0 was seen ['Failed', 'Succeeded'] and is Succeeded now" in check(
        ledger, make_recount(ledger)
    )


@pytest.mark.parametrize(
    "watched", [Watched(text="", ends=["Succeeded"]), Watched(text="s1.t0 ", ends=[])]
)
def test_a_watcher_that_saw_something_else_is_seen(watched: Watched) -> None:
    ledger = make_ledger()
    ledger.jobs[0].watched = watched
    assert any("watcher" in sentence for sentence in check(ledger, make_recount(ledger)))


def test_what_is_left_behind_is_seen() -> None:
    ledger = make_ledger()
    found = check(ledger, replace(make_recount(ledger), leftovers=["txt:single"]))
    assert found == ["left behind: txt:single"]
