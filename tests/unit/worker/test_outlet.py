"""What has passed the gate is never taken back, and a stop string never gets out."""

import pytest

from llmjobs_worker.outlet import NO_STOPS, Outlet, Piece, StopRule


def put(outlet: Outlet, *texts: str) -> list[str]:
    """Add a token for each text; returns what passed after each, until a stop string."""
    passed = []
    for i, text in enumerate(texts):
        outlet.add(Piece(text, (i,), 1))
        if outlet.stopped_by is not None:
            passed.append(outlet.take_rest().text)
            break
        passed.append(outlet.take_settled().text)
    return passed


def test_text_passes_at_once_without_stop_strings() -> None:
    assert put(Outlet(NO_STOPS, "", 0), "a", "b") == ["a", "b"]


def test_what_may_begin_a_stop_string_waits_and_passes_when_it_is_none() -> None:
    assert put(Outlet(StopRule(("END",)), "", 0), "a E", "N", "d") == ["", "", "a ENd"]


def test_only_whole_tokens_pass_so_that_ids_and_text_match() -> None:
    outlet = Outlet(StopRule(("END",)), "", 0)
    outlet.add(Piece("a", (1,), 1))
    outlet.add(Piece("", (2,), 1))
    outlet.add(Piece("b E", (3,), 1))
    assert outlet.take_settled() == Piece("a", (1,), 1)
    assert outlet.take_rest() == Piece("b E", (2, 3), 2)


@pytest.mark.parametrize(("included", "text"), [(False, "a "), (True, "a END")])
def test_a_stop_string_over_several_tokens_is_cut(included: bool, text: str) -> None:
    outlet = Outlet(StopRule(("END",), is_included=included), "", 0)
    assert "".join(put(outlet, "a ", "EN", "D and more", "never")) == text
    assert outlet.stopped_by == "END"


def test_the_stop_string_that_ends_first_counts_and_then_the_clients_order() -> None:
    first = Outlet(StopRule(("bcd", "c", "abc")), "", 0)
    assert put(first, "abcd") == ["ab"]
    assert first.stopped_by == "c"
    second = Outlet(StopRule(("bc", "abc")), "", 0)
    assert put(second, "abc") == ["a"]


def test_no_stop_string_counts_before_min_tokens() -> None:
    rule = StopRule(("x",), min_tokens=2)
    assert "".join(put(Outlet(rule, "", 0), "x", "x", "a", "x")) == "xxa"
    assert "".join(put(Outlet(rule, "x", 1), "x", "a", "x")) == "xa"


def test_a_stop_string_that_begins_in_what_has_passed_still_stops() -> None:
    """Sampling took another turn after the cut: what watchers saw stays, no more comes."""
    outlet = Outlet(StopRule(("END",)), "so E", 3)
    assert put(outlet, "ND") == [""]
    assert outlet.stopped_by == "END"
