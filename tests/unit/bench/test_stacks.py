"""A profile's summary is of what ran, by function, and not of what waited."""

import pytest

from llmjobs_bench.stacks import find_name, render_profile, summarise

RAW = """\
main (app.py:10);parse (llmjobs_worker/chunks.py:80) 30
main (app.py:12);parse (llmjobs_worker/chunks.py:95) 10
main (app.py:12);parse (llmjobs_worker/chunks.py:95);parse (llmjobs_worker/chunks.py:95) 20
main (app.py:10);dumps (json/__init__.py:5) 40
main (app.py:10);Condition.wait (threading.py:327) 900
"""


def test_a_function_is_one_whatever_its_line() -> None:
    shares = {share.function: share for share in summarise(RAW).shares}
    assert shares["parse (llmjobs_worker/chunks.py)"].own == pytest.approx(0.6)


def test_a_function_that_calls_itself_counts_once_in_total() -> None:
    shares = {share.function: share for share in summarise(RAW).shares}
    assert shares["parse (llmjobs_worker/chunks.py)"].total == pytest.approx(0.6)
    assert shares["main (app.py)"].own == 0
    assert shares["main (app.py)"].total == pytest.approx(1.0)


def test_what_waits_is_left_out() -> None:
    profile = summarise(RAW)
    assert profile.samples == 100
    assert not any("wait" in share.function for share in profile.shares)


def test_the_largest_own_share_is_first() -> None:
    assert [share.own for share in summarise(RAW).shares] == pytest.approx([0.6, 0.4, 0.0])


def test_no_samples_make_an_empty_profile() -> None:
    profile = summarise("")
    assert profile.samples == 0
    assert "0 samples" in render_profile(profile, top=5)


@pytest.mark.parametrize(
    ("frame", "want"),
    [
        ("Condition.wait (threading.py:327)", "wait"),
        ("_build_app.<locals>.run (llmjobs_worker/celery_runner.py)", "run"),
        ("thread (29609): engine-loop", "thread"),
    ],
)
def test_a_frames_name_is_the_last_of_its_path(frame: str, want: str) -> None:
    assert find_name(frame) == want


def test_our_own_functions_are_listed_by_all_they_cause() -> None:
    _, _, ours = render_profile(summarise(RAW), top=5).partition("of llmjobs, by total time\n")
    assert ours.splitlines() == [" 60.0%  60.0%  parse (llmjobs_worker/chunks.py)"]
