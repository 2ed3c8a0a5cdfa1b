"""Leaving: take nothing new, hand back what runs, and be gone in seconds."""

import asyncio

import structlog

from llmjobs_worker.held import AbortReason, HeldUnits
from llmjobs_worker.intake import Intake
from llmjobs_worker.run_chunk import ChunkRunner

_POLL_S = 0.01

_log = structlog.get_logger(__name__)


async def drain(intake: Intake, held: HeldUnits, chunks: ChunkRunner) -> None:
    """Return when no request runs here any more; each was written down and handed back."""
    intake.close()
    _log.info("draining", requests=len(held))
    while chunks.active:
        # A claim may have been on its way: what it brought is handed back as well.
        held.abort_all(AbortReason.DRAINED)
        await asyncio.sleep(_POLL_S)
    _log.info("drained")
