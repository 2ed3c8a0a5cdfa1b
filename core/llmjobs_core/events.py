"""What watchers of a job are told, in order; the id is the SSE id."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from llmjobs_core.states import JobState


class EventType(StrEnum):
    """The kinds of events in a job's stream."""

    STATE = "state"
    """The job changed state: fields ``state``, ``reason``."""
    DELTA = "delta"
    """New text: fields ``text``, ``tokens`` (of the job so far)."""
    RESET = "reset"
    """All text so far is void: the request starts again."""
    LINE = "line"
    """A batch line ended: fields ``line``, ``ok`` (1 or 0), ``done`` and ``total``."""
    DONE = "done"
    """The last event: fields ``state`` (terminal), ``reason``."""
    OTHER = "other"
    """A kind that another version writes and this one does not know: nothing to tell."""

    @classmethod
    def parse(cls, text: str) -> "EventType":
        """Return the kind that an entry names."""
        return cls(text) if text in _KNOWN else cls.OTHER


_KNOWN = {*EventType}


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One entry of a job's event stream."""

    id: str
    """Increases within the job, as ``milliseconds-sequence``; opaque to clients."""
    type: EventType
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as it reaches everyone who watches, of any job."""

    job_id: str
    event: JobEvent


@dataclass(frozen=True, slots=True)
class Change:
    """Something about a job of a Kubernetes resource changed: look at it."""

    id: str
    """The position in the change stream; pass the last one to read on."""
    job_id: str
    owner: str
    """UID of the LLMJob."""
    namespace: str
    name: str
    state: JobState
