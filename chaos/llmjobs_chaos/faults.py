"""When what breaks: a plan made from a seed, pure, so that a run can be had again."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be done to a running system."""

    WORKER_KILL = "worker-kill"
    WORKER_STOP = "worker-stop"
    """SIGSTOP for longer than a lease, then SIGCONT."""
    WORKER_TERM = "worker-term"
    ENGINE_KILL = "engine-kill"
    ENGINE_STOP = "engine-stop"
    """SIGSTOP for longer than a worker bears it, then SIGCONT."""
    GATEWAY_KILL = "gateway-kill"
    GATEWAY_STOP = "gateway-stop"
    OPERATOR_KILL = "operator-kill"
    OPERATOR_STOP = "operator-stop"
    REDIS_KILL = "redis-kill"
    REDIS_SLOW = "redis-slow"
    """Latency through the proxy."""
    REDIS_CUT = "redis-cut"
    """Every connection through the proxy is cut."""
    API_SERVER_KILL = "api-server-kill"


@dataclass(frozen=True, slots=True)
class Fault:
    """One blow."""

    at_s: float
    """After the start of the scenario."""
    kind: Kind
    which: int
    """Picks the victim among those there are."""
    lasts_s: float = 0.0
    """Of faults that last."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a kind of fault comes."""

    every_s: float
    lasts_s: tuple[float, float] = (0.0, 0.0)
    """Between these two."""
    first_s: float | None = None
    """By default after one *every_s*."""
    most: int = 1_000


def plan_faults(
    rhythms: Mapping[Kind, Rhythm], *, duration_s: float, seed: int | str
) -> list[Fault]:
    """Return the faults of *duration_s* in their order; the same for the same seed.

    Each comes at its rhythm, give or take a fifth, so that they meet in ever new ways.
    """
    faults: list[Fault] = []
    for kind, rhythm in rhythms.items():
        dice = random.Random(f"{seed}/{kind}")
        at_s = rhythm.every_s if rhythm.first_s is None else rhythm.first_s
        count = 0
        while at_s < duration_s and count < rhythm.most:
            jitter = dice.uniform(-0.2, 0.2) * rhythm.every_s
            when_s = min(duration_s, max(0.0, at_s + jitter))
            faults.append(Fault(when_s, kind, dice.randrange(1_000), dice.uniform(*rhythm.lasts_s)))
            at_s += rhythm.every_s
            count += 1
    return sorted(faults, key=lambda fault: (fault.at_s, fault.kind))
