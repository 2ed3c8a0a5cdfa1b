"""A plan of faults is its seed's, and keeps its rhythm."""

import itertools

from llmjobs_chaos.faults import Kind, Rhythm, plan_faults

RHYTHMS = {Kind.WORKER_KILL: Rhythm(2.0), Kind.REDIS_KILL: Rhythm(10.0, (0.5, 2.0), most=3)}


def test_the_same_seed_gives_the_same_faults() -> None:
    assert plan_faults(RHYTHMS, duration_s=60, seed=7) == plan_faults(
        RHYTHMS, duration_s=60, seed=7
    )


def test_another_seed_gives_other_faults() -> None:
    assert plan_faults(RHYTHMS, duration_s=60, seed=7) != plan_faults(
        RHYTHMS, duration_s=60, seed=8
    )


def test_a_kind_more_does_not_move_the_others() -> None:
    alone = plan_faults({Kind.WORKER_KILL: Rhythm(2.0)}, duration_s=60, seed=7)
    both = plan_faults(RHYTHMS, duration_s=60, seed=7)
    assert [fault for fault in both if fault.kind is Kind.WORKER_KILL] == alone


def test_each_kind_keeps_its_rhythm_and_its_number() -> None:
    faults = plan_faults(RHYTHMS, duration_s=60, seed=7)
    kills = [fault.at_s for fault in faults if fault.kind is Kind.WORKER_KILL]
    assert len(kills) == 29
    assert all(
        1.6 - 0.4 <= later - earlier <= 2.4 + 0.4 for earlier, later in itertools.pairwise(kills)
    )
    redis = [fault for fault in faults if fault.kind is Kind.REDIS_KILL]
    assert len(redis) == 3
    assert all(0.5 <= fault.lasts_s <= 2.0 for fault in redis)
    assert faults == sorted(faults, key=lambda fault: fault.at_s)
