"""A day of arrivals: a wave of day and night with bursts in it, of several tenants. Seeded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmjobs_core.states import CLASS_WEIGHTS, JobClass

DAY_S = 86_400
TOKENS_PER_S = 15.0
"""Of one stream (arbitrary; a large model's on a well filled GPU)."""
CLASSES = (JobClass.INTERACTIVE, JobClass.STANDARD, JobClass.BATCH)
_SHARES = (0.2, 0.5, 0.3)
_MEDIAN_TOKENS = (4_000, 15_000, 25_000)
_SIGMA = (0.8, 0.9, 1.0)
_MOST_TOKENS = 400_000
_BURSTY = 0.25
"""Share of the jobs that come in bursts; a burst is one tenant's, and of one class."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A namespace."""

    name: str
    weight: int
    share: float
    """Of the jobs."""


TENANTS = (
    Tenant("search", 4, 0.35),
    Tenant("support", 2, 0.30),
    Tenant("research", 1, 0.25),
    Tenant("trials", 1, 0.10),
)


@dataclass(frozen=True, slots=True)
class Load:
    """All jobs of the day, by arrival."""

    arrival_s: NDArray[np.float64]
    tokens: NDArray[np.int64]
    tenant: NDArray[np.int64]
    """Index into TENANTS."""
    job_class: NDArray[np.int64]
    """Index into CLASSES."""

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def service_s(self) -> NDArray[np.float64]:
        """Seconds that each job generates."""
        return self.tokens / TOKENS_PER_S

    @property
    def weight(self) -> NDArray[np.int64]:
        """Each job's share in the backlog."""
        of_tenant = np.array([tenant.weight for tenant in TENANTS])[self.tenant]
        of_class = np.array([CLASS_WEIGHTS[name] for name in CLASSES])[self.job_class]
        return np.asarray(of_tenant * of_class)


def build_load(jobs: int, seed: int, *, bursts: int = 60) -> Load:
    """Return a day of *jobs* jobs; the same seed gives the same day."""
    random = np.random.default_rng(seed)
    shares = np.array([tenant.share for tenant in TENANTS])
    steady = jobs - int(jobs * _BURSTY)
    arrival = [_draw_wave(random, steady)]
    tenant = [random.choice(len(TENANTS), steady, p=shares)]
    job_class = [random.choice(len(CLASSES), steady, p=_SHARES)]
    for size in random.multinomial(jobs - steady, random.dirichlet(np.full(bursts, 0.7))):
        begin_s = _draw_wave(random, 1)[0]
        arrival.append(begin_s + random.exponential(random.uniform(30, 240), size))
        tenant.append(np.full(size, random.choice(len(TENANTS), p=shares)))
        job_class.append(np.full(size, random.choice(len(CLASSES), p=_SHARES)))
    order = np.argsort(np.concatenate(arrival), kind="stable")
    classes = np.concatenate(job_class)[order]
    tokens = np.array(_MEDIAN_TOKENS)[classes] * np.exp(
        np.array(_SIGMA)[classes] * random.standard_normal(jobs)
    )
    return Load(
        np.concatenate(arrival)[order],
        np.clip(tokens, 16, _MOST_TOKENS).astype(np.int64),
        np.concatenate(tenant)[order],
        classes,
    )


def _draw_wave(random: np.random.Generator, count: int) -> NDArray[Any]:
    """Return times of the day: quiet at 4 o'clock, four times as busy at 16."""
    grid_s = np.arange(0, DAY_S + 60, 60)
    rate = 1 - 0.6 * np.cos((grid_s - 4 * 3600) / DAY_S * 2 * np.pi)
    total = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    return np.sort(np.interp(random.random(count) * total[-1], total, grid_s))
