"""What HTTP clients wish of a job: of an LLMJob's, it is written to the LLMJob's spec too.

The operator keeps the store in line with the LLMJob, and fills an emptied store from it; so a wish
that is only in the store would be undone. The spec is written first, then the store, for whom it
is sooner there.
"""

from collections.abc import Mapping
from typing import Any

from llmjobs_api.context import Gateway
from llmjobs_api.problems import Problem, job_not_found
from llmjobs_api.resources import ResourceGone
from llmjobs_core.errors import LLMJobsError
from llmjobs_core.jobs import JobRecord
from llmjobs_core.states import JobState

_CANCELLED = "cancelled by its owner"


async def apply_wish(gateway: Gateway, record: JobRecord, spec: Mapping[str, Any]) -> None:
    """Write *spec* to the job's LLMJob; does nothing for a job that has none.

    Raises the 404 problem where the LLMJob is gone, 409 where this gateway may not change LLMJobs,
    and the errors of ``resources``.
    """
    try:
        await _write_spec(gateway, record, spec)
    except ResourceGone as error:
        raise job_not_found() from error


async def cancel_job(gateway: Gateway, record: JobRecord) -> None:
    """Cancel the job so that it stays cancelled, whatever becomes of the store.

    Without access to LLMJobs, it is cancelled in the store alone, and stays so unless the store
    is emptied before the operator has seen it. Where the LLMJob is gone, nothing brings it back.
    Raises the errors of ``resources``: the work is ended all the same, but nothing was promised.
    """
    may_run_again = not record.state.is_terminal or record.state is JobState.CANCELLED
    if record.owner and gateway.resources is not None and may_run_again:
        try:
            await _write_spec(gateway, record, {"cancel": True})
        except ResourceGone:
            pass
        except LLMJobsError:
            await gateway.store.cancel(record.id, _CANCELLED)
            raise
    await gateway.store.cancel(record.id, _CANCELLED)


async def remove_job(gateway: Gateway, record: JobRecord) -> None:
    """Remove an ended job; that of an LLMJob goes with it, as soon as the operator deletes it."""
    if record.owner:
        try:
            await _write_spec(gateway, record, {"ttlSecondsAfterFinished": 0})
        except ResourceGone:
            pass
        else:
            return
    await gateway.store.remove(record.id)


async def _write_spec(gateway: Gateway, record: JobRecord, spec: Mapping[str, Any]) -> None:
    if not record.owner:
        return
    if gateway.resources is None:
        raise Problem(
            409,
            "owned_by_kubernetes",
            "the job belongs to an LLMJob, which this gateway can't change: use kubectl",
        )
    await gateway.resources.apply_wish(record.namespace, record.resource, record.owner, spec)
