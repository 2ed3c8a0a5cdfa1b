"""What an alert is, and the alerts. Expressions are made for a factor that shortens all times."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from llmjobs_monitoring.promql import Scope

PREFIX = "LLMJobs"


class Severity(StrEnum):
    """What to do about it."""

    CRITICAL = "critical"
    """Wake somebody: jobs don't run, or nobody can see whether they do."""
    WARNING = "warning"
    """Look at it today."""


@dataclass(frozen=True, slots=True)
class Times:
    """Turns minutes into what a rule says; a factor below 1 makes a rule that fires sooner."""

    factor: float = 1.0

    def seconds(self, minutes: float) -> float:
        """Return a threshold of time, in seconds."""
        return minutes * 60 * self.factor

    def span(self, minutes: float) -> str:
        """Return a duration as Prometheus reads it, at least a second."""
        seconds = max(1, round(self.seconds(minutes)))
        return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule; its page is docs/runbooks/``page``.md."""

    name: str
    """Without the prefix."""
    page: str
    severity: Severity
    for_minutes: float
    build: Callable[[Times], str]
    """The expression."""
    summary: str
    description: str
    """Templates of Prometheus; they may name labels that the expression keeps, and the value."""

    @property
    def full_name(self) -> str:
        """The alert's name in Prometheus."""
        return f"{PREFIX}{self.name}"


_ALL = Scope()
_BY = ("pool",)
_QUEUED = _ALL.now("llmjobs_pool_requests_queued", by=_BY)
_SLOTS = _ALL.now("llmjobs_pool_slots", by=_BY)
_RUNNING = _ALL.now("llmjobs_pool_requests_running", by=_BY)
_BAD = "Failed|Expired"
_LEADING = _ALL.select("llmjobs_operator_leading")
_ANSWERED = "llmjobs_gateway_requests_total"
_UP = _ALL.select("llmjobs_store_up")
HERE = "{{ with $labels.namespace }} in {{ . }}{{ end }}"
"""Which installation, where the scrape says so: one Prometheus may see several."""


def _oldest(times: Times) -> str:
    oldest = _ALL.now("llmjobs_pool_oldest_queued_seconds", by=_BY)
    return f"{oldest} > {times.seconds(30):g}"


def _growing(times: Times) -> str:
    queued = f"{_ALL.select('llmjobs_pool_requests_queued')}[{times.span(30)}]"
    return f"max by (pool) (deriv({queued})) > 0.01 and on (pool) {_QUEUED} > 2 * {_SLOTS}"


def _share_above(share: float, bad: str, every: str, *, by: str, least: int) -> str:
    """Return what share of *every* is *bad*, where it is above *share* and more than *least*."""
    return f"{bad} / on ({by}) {every} > {share} and on ({by}) {bad} > {least}"


def _failing(times: Times) -> str:
    # A batch with one good line has succeeded, whatever became of the others: these are requests.
    ended, requests = "llmjobs_jobs_ended_total", "llmjobs_requests_ended_total"
    span = times.span(15)

    def share(name: str, **bad: str) -> str:
        some, every = (_ALL.increase(name, by=_BY, window=span, **where) for where in (bad, {}))
        return _share_above(0.1, some, every, by="pool", least=5)

    return f"({share(ended, state=_BAD)}) or on (pool) ({share(requests, outcome='failed')})"


def _no_workers(_: Times) -> str:
    return f"{_QUEUED} > 0 and on (pool) {_SLOTS} == 0"


def _saturated(_: Times) -> str:
    return f"{_RUNNING} / on (pool) ({_SLOTS} > 0) > 0.95 and on (pool) {_QUEUED} > 0"


def _slow_first_token(times: Times) -> str:
    name, span = "llmjobs_worker_engine_first_token_seconds", times.span(15)
    return f"{_ALL.quantile(0.95, name, by=_BY, window=span)} > 30"


def _at_max(_: Times) -> str:
    desired = _ALL.now("llmjobs_pool_replicas", by=_BY, kind="desired")
    most = _ALL.now("llmjobs_pool_replicas", by=_BY, kind="max")
    return f"({desired} >= on (pool) {most}) and on (pool) {_QUEUED} > {_SLOTS}"


def _scaler_errors(times: Times) -> str:
    name, span = "llmjobs_operator_reconcile_errors_total", times.span(10)
    all_of_them, lately = (
        _ALL.increase(name, by=("error",), window=window, kind="LLMWorkerPool")
        for window in (span, times.span(2))
    )
    return f"{all_of_them} > 5 and on (error) {lately} > 0"


def _no_leader(_: Times) -> str:
    # Asked of installations whose exporter is seen: silence of an operator tells something there.
    return f"max by (namespace) ({_UP}) unless on (namespace) {_LEADING} == 1"


def _broker_down(_: Times) -> str:
    return f"max by (namespace) ({_UP}) == 0"


def _store_full(_: Times) -> str:
    return f"min by (namespace) ({_ALL.select('llmjobs_store_writable')}) == 0"


def _gateway_down(_: Times) -> str:
    gateways = _ALL.select("llmjobs_gateway_store_up")
    return f"max by (namespace) ({_UP}) unless on (namespace) {gateways}"


def _gateway_errors(times: Times) -> str:
    bad, every = (
        f"sum by (namespace) (increase({_ALL.select(_ANSWERED, **where)}[{times.span(10)}]))"
        for where in ({"status": "5.."}, {})
    )
    return _share_above(0.05, bad, every, by="namespace", least=20)


def _exporter_down(_: Times) -> str:
    one_of_several = f"count by (namespace) ({_LEADING}) unless on (namespace) {_UP}"
    return f"({one_of_several}) or on () absent({_UP})"


ALERTS: tuple[Alert, ...] = (
    Alert(
        name="BrokerDown",
        page="broker-down",
        severity=Severity.CRITICAL,
        for_minutes=1,
        build=_broker_down,
        summary=f"Redis can't be read by any exporter{HERE}.",
        description="No job is accepted or started while Redis is away; running generations go "
        "on. What the store would tell is absent now, so other alerts keep quiet.",
    ),
    Alert(
        name="ExporterDown",
        page="exporter-down",
        severity=Severity.CRITICAL,
        for_minutes=5,
        build=_exporter_down,
        summary=f"No exporter is scraped{HERE}: nobody sees the queue.",
        description="Jobs may well run, but every alert about queues and failures is blind.",
    ),
    Alert(
        name="StoreFull",
        page="store-full",
        severity=Severity.CRITICAL,
        for_minutes=1,
        build=_store_full,
        summary=f"Redis takes no new jobs{HERE}: it is full, or its disk fails.",
        description="Every submission is answered 503; what was accepted runs on. The queue "
        "drains, so other alerts keep quiet.",
    ),
    Alert(
        name="GatewayDown",
        page="gateway-down",
        severity=Severity.CRITICAL,
        for_minutes=5,
        build=_gateway_down,
        summary=f"No gateway is scraped{HERE}.",
        description="Clients of HTTP may get nothing; LLMJobs flow on.",
    ),
    Alert(
        name="GatewayErrors",
        page="gateway-errors",
        severity=Severity.CRITICAL,
        for_minutes=5,
        build=_gateway_errors,
        summary=f"{{{{ $value | humanizePercentage }}}} of HTTP requests{HERE} get a 5xx.",
        description="Of those answered within 10 minutes, and more than twenty.",
    ),
    Alert(
        name="NoWorkersForBacklog",
        page="no-workers-for-backlog",
        severity=Severity.CRITICAL,
        for_minutes=10,
        build=_no_workers,
        summary="Requests wait in {{ $labels.pool }}, and no worker lives.",
        description="{{ $value | humanize }} requests wait. A large model may take minutes to "
        "load; after 10 of them something keeps its pods from starting.",
    ),
    Alert(
        name="FailureRatioHigh",
        page="failure-ratio-high",
        severity=Severity.CRITICAL,
        for_minutes=5,
        build=_failing,
        summary="{{ $value | humanizePercentage }} of the work of {{ $labels.pool }} fails.",
        description="Jobs that failed or expired, or requests that failed (lines of batches, too), "
        "of those that ended within 15 minutes, and more than five.",
    ),
    Alert(
        name="OldestJobTooOld",
        page="oldest-job-too-old",
        severity=Severity.WARNING,
        for_minutes=5,
        build=_oldest,
        summary="A job of {{ $labels.pool }} has waited {{ $value | humanizeDuration }}.",
        description="It was queued more than 30 minutes ago and has not begun.",
    ),
    Alert(
        name="BacklogGrowing",
        page="backlog-growing",
        severity=Severity.WARNING,
        for_minutes=30,
        build=_growing,
        summary="The backlog of {{ $labels.pool }} grows by {{ $value | humanize }} a second.",
        description="It has grown for 30 minutes, and holds more than twice what runs at once.",
    ),
    Alert(
        name="WorkersSaturated",
        page="workers-saturated",
        severity=Severity.WARNING,
        for_minutes=30,
        build=_saturated,
        summary="{{ $value | humanizePercentage }} of the slots of {{ $labels.pool }} are busy.",
        description="And more requests wait, for 30 minutes.",
    ),
    Alert(
        name="TTFTHigh",
        page="ttft-high",
        severity=Severity.WARNING,
        for_minutes=10,
        build=_slow_first_token,
        summary="Engines of {{ $labels.pool }} take {{ $value | humanizeDuration }} to a token.",
        description="One in twenty requests got its first token later than that, counted from "
        "when it was sent to the engine, without the queue.",
    ),
    Alert(
        name="PoolAtMax",
        page="pool-at-max",
        severity=Severity.WARNING,
        for_minutes=30,
        build=_at_max,
        summary="{{ $labels.pool }} has all of its {{ $value }} replicas and needs more.",
        description="More requests wait than run at once, and maxReplicas is reached.",
    ),
    Alert(
        name="ScalerErrors",
        page="scaler-errors",
        severity=Severity.WARNING,
        for_minutes=5,
        build=_scaler_errors,
        summary="The operator fails to bring pools in line: {{ $labels.error }}.",
        description="{{ $value | humanize }} attempts within 10 minutes failed.",
    ),
    Alert(
        name="NoLeader",
        page="no-leader",
        severity=Severity.CRITICAL,
        for_minutes=2,
        build=_no_leader,
        summary=f"No operator leads{HERE}, or none is scraped.",
        description="No LLMJob is taken in or reported, and no pool is scaled; HTTP jobs run on "
        "the workers that live.",
    ),
)
