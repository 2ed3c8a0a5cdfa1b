"""Redis keys that Python reads directly; all others are built in ``lua/lib``.

Each key is built in one function here and must match the library's; the store's tests read
through both.
"""

from llmjobs_core.states import JobState

_SHARDS = 16


def job(prefix: str, job_id: str) -> str:
    """Hash: the job's record."""
    return f"{prefix}job:{job_id}"


def lines(prefix: str, job_id: str) -> str:
    """Hash: line number to a batch's input line."""
    return f"{prefix}in:{job_id}"


def results(prefix: str, job_id: str) -> str:
    """Hash: line number (0 for a single job) to result."""
    return f"{prefix}out:{job_id}"


def text(prefix: str, ref: str) -> str:
    """String: the text generated so far of a unit."""
    return f"{prefix}txt:{ref}"


def events(prefix: str, job_id: str) -> str:
    """Stream: what watchers of the job are told."""
    return f"{prefix}ev:{job_id}"


def shards(prefix: str) -> list[str]:
    """Streams: the events of all jobs, spread over a few keys."""
    return [f"{prefix}shard:{n}" for n in range(_SHARDS)]


def changes(prefix: str) -> str:
    """Stream: Kubernetes-owned jobs that changed."""
    return f"{prefix}changes"


def idempotency(prefix: str, namespace: str, idempotency_key: str) -> str:
    """Hash: the job that this key made."""
    return f"{prefix}idem:{namespace}:{idempotency_key}"


def index(
    prefix: str,
    namespace: str | None,
    state: JobState | None,
    label: tuple[str, str] | None,
    reason: str | None = None,
) -> str:
    """Sorted set: job ids by name; the label index where a label is asked for, else by state.

    Ended jobs are indexed by reason too, where it says more than the state.
    """
    key = f"{prefix}ix:{namespace or '*'}"
    if label is not None:
        return f"{key}|{label[0]}={label[1]}"
    if state is None:
        return key
    if reason is None or reason == state or not state.is_terminal:
        return f"{key}|{state}"
    return f"{key}|{state}|{reason}"


def models(prefix: str, namespace: str) -> str:
    """Hash: model to the names of the pools that serve it."""
    return f"{prefix}models:{namespace}"


def pools(prefix: str) -> str:
    """Set: every registered pool."""
    return f"{prefix}pools"


def workers(prefix: str) -> str:
    """Sorted set: worker to the end of its lease."""
    return f"{prefix}workers"


def worker_slots(prefix: str) -> str:
    """Hash: worker to its slots and pool."""
    return f"{prefix}wslots"


def worker_running(prefix: str) -> str:
    """Hash: worker to the requests it runs."""
    return f"{prefix}wrun"


def wake(prefix: str, worker: str) -> str:
    """Channel (not a key): says that the worker runs something it must stop."""
    return f"{prefix}wake:{worker}"


def all_counters(prefix: str) -> list[str]:
    """Hashes that hold the counters behind the metrics, in the order parse_counters expects."""
    names = ("depth", "outcomes", "submitted", "retries", "tokens", "requests", "hist")
    return [prefix + name for name in names]
