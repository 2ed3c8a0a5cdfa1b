"""Only the request that is meant is stopped, and only while it can be."""

from llmjobs_core.jobs import Lost
from llmjobs_core.names import UnitRef
from llmjobs_worker.held import (
    AbortReason,
    HeldUnit,
    HeldUnits,
    Loss,
    build_losses,
    find_lapsed,
    note_renewed,
)

REF = UnitRef("job-1")


def hold(held: HeldUnits, fence: int = 1, renewed_s: float = 0.0) -> tuple[HeldUnit, list[str]]:
    unit, aborts = HeldUnit(REF, fence, renewed_s), list[str]()
    unit.set_abort(lambda: aborts.append("x"))
    held.add(unit)
    return unit, aborts


def test_a_loss_stops_its_request_once() -> None:
    held = HeldUnits()
    unit, aborts = hold(held)
    held.abort([Loss(REF, 1, AbortReason.FENCED), Loss(REF, 1, AbortReason.CANCELLED)])
    assert (aborts, unit.abort_reason) == (["x"], AbortReason.FENCED)


def test_a_loss_of_an_earlier_claim_does_not_stop_a_later_one() -> None:
    held = HeldUnits()
    _, aborts = hold(held, fence=2)
    held.abort([Loss(REF, 1, AbortReason.FENCED)])
    assert aborts == []


def test_what_is_ending_is_left_to_its_last_call() -> None:
    held = HeldUnits()
    unit, aborts = hold(held)
    unit.is_ending = True
    held.abort_all(AbortReason.LAPSED)
    assert aborts == []


def test_an_abort_before_the_start_stops_it_at_the_start() -> None:
    unit, aborts = HeldUnit(REF, 1, 0.0), []
    unit.abort(AbortReason.DRAINED)
    unit.set_abort(lambda: aborts.append("x"))
    assert aborts == ["x"]


def test_a_later_claim_stays_when_an_earlier_one_goes() -> None:
    held = HeldUnits()
    first, _ = hold(held, fence=1)
    hold(held, fence=2)
    held.remove(first)
    assert [unit.fence for unit in held.snapshot()] == [2]


def test_leases_lapse_by_their_last_renewal() -> None:
    held = HeldUnits()
    unit, _ = hold(held, renewed_s=100.0)
    assert find_lapsed([unit], 105.0, 5.0) == []
    assert find_lapsed([unit], 105.1, 5.0) == [Loss(REF, 1, AbortReason.LAPSED)]
    note_renewed([unit], 103.0)
    note_renewed([unit], 101.0)
    assert find_lapsed([unit], 107.9, 5.0) == []


def test_the_stores_words_become_reasons() -> None:
    other = UnitRef("job-2", 3)
    lost = [Lost(REF, cancelled=True), Lost(other, cancelled=False)]
    unknown = Lost(UnitRef("job-9"), cancelled=True)
    behind = Lost(UnitRef("job-8"), cancelled=False, behind=True)
    assert build_losses([*lost, unknown, behind], {REF: 1, other: 7, behind.ref: 2}) == [
        Loss(REF, 1, AbortReason.CANCELLED),
        Loss(other, 7, AbortReason.FENCED),
    ]
