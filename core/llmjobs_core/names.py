"""Names that several parts must agree on: the API group, labels, queues and ids."""

import hashlib
import secrets
from dataclasses import dataclass

GROUP = "llmjobs.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

JOB_FINALIZER = f"{GROUP}/cancel"
"""On every LLMJob that may be in the store: its work is ended before the object goes."""
SOURCE_ANNOTATION = f"{GROUP}/source"
"""The door that an LLMJob came by; absent for ``kubectl``."""
USER_ANNOTATION = f"{GROUP}/user"
"""Whom the gateway knew as the submitter of an LLMJob that it made."""
TITLE_ANNOTATION = f"{GROUP}/title"
"""The name for people that an HTTP client gave; the object's own name is made up then."""
FINGERPRINT_ANNOTATION = f"{GROUP}/fingerprint"
"""Digest of the HTTP request behind an LLMJob, to know a repeated submission by."""

TASK_NAME = "llmjobs.run"
"""The one Celery task; its argument is a chunk of a job, see :class:`ChunkRef`."""

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True, order=True)
class PoolKey:
    """A pool by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "PoolKey":
        """Return the key written as ``namespace/name``."""
        namespace, _, name = text.partition("/")
        return cls(namespace, name)

    @property
    def queue(self) -> str:
        """The Celery queue that the pool's workers consume."""
        return f"llmjobs.{self.namespace}.{self.name}"


def build_job_id(now_ms: int) -> str:
    """Return a new job id: ``job-`` and 26 characters that sort by time, as a ULID's do."""
    return _format_job_id((now_ms << 80) | secrets.randbits(80))


def build_owned_job_id(uid: str, created_ms: int) -> str:
    """Return the id of the job of the LLMJob *uid*: always the same, whoever submits it.

    So an id that a client was given stays valid when an emptied store is filled again, and no
    LLMJob can claim another's id: the API server chooses the UID.
    """
    digest = hashlib.sha256(uid.encode()).digest()
    return _format_job_id((created_ms << 80) | int.from_bytes(digest[:10], "big"))


def _format_job_id(value: int) -> str:
    return "job-" + "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True, slots=True)
class UnitRef:
    """One request at an engine: a whole single job, or one line of a batch."""

    job_id: str
    line: int | None = None
    """Zero-based line of the batch; None for a single job."""

    def __str__(self) -> str:
        return self.job_id if self.line is None else f"{self.job_id}:{self.line}"

    @classmethod
    def parse(cls, text: str) -> "UnitRef":
        """Return the reference written as ``job-id`` or ``job-id:line``."""
        job_id, _, line = text.partition(":")
        return cls(job_id, int(line) if line else None)


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """What a Celery message carries: a job, and which of its hand-outs this is."""

    job_id: str
    number: int

    def __str__(self) -> str:
        return f"{self.job_id}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> "ChunkRef":
        """Return the reference written as ``job-id.number``; ValueError for anything else."""
        job_id, _, number = text.rpartition(".")
        return cls(job_id, int(number))
