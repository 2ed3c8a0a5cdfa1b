"""The errors that parts of llmjobs raise at each other.

Adapters translate what a library raises into one of these, with the cause chained, so that a
caller decides by type and never by text::

    LLMJobsError
    ├── RetryableError            the same call may succeed later
    │   ├── StoreUnavailable      Redis can't be reached or answers too late
    │   ├── StoreFull             Redis refuses writes (maxmemory with noeviction)
    │   ├── UnreadableEntry       another version wrote this entry of a stream
    │   └── CheckpointBehind      the store has less of a text than was sent to it
    └── PermanentError            the same call fails again
        ├── JobNotFound           no such job, or its TTL has passed
        ├── PoolNotFound          no pool of this name, or none that serves the model
        ├── IdempotencyMismatch   the key was used for a different request
        ├── StateConflict         the job's state does not allow this
        └── InvalidCursor         a list cursor that this store did not make
"""


class LLMJobsError(Exception):
    """Base of every error that llmjobs raises on purpose."""


class RetryableError(LLMJobsError):
    """The same call may succeed later."""


class PermanentError(LLMJobsError):
    """The same call would fail again."""


class StoreUnavailable(RetryableError):
    """Redis can't be reached or did not answer in time; the call may or may not have happened.

    Every write of the store is safe to repeat: submit by its idempotency key, the rest by fence.
    """


class StoreFull(RetryableError):
    """Redis refuses to grow (``maxmemory`` reached, ``noeviction``); nothing was written."""


class UnreadableEntry(RetryableError):
    """An entry of a stream is not in this version's form; what it told is in the jobs themselves.

    Two versions share a store while one is rolled out.
    """


class CheckpointBehind(RetryableError):
    """The store has less text of a request than was sent: send all of it, with ``reset``."""


class JobNotFound(PermanentError):
    """There is no such job, or it ended longer ago than its TTL."""


class PoolNotFound(PermanentError):
    """No pool has this name, or none serves this model, in the namespace."""


class IdempotencyMismatch(PermanentError):
    """The idempotency key was used before for a request with another content."""


class StateConflict(PermanentError):
    """The job is in a state that does not allow this operation; the message names it."""


class InvalidCursor(PermanentError):
    """The list cursor was not made by this store."""
