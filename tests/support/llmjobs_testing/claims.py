"""Builders of claims, as a worker gets them from the store."""

from typing import Any

import msgspec

from llmjobs_core.jobs import Claim
from llmjobs_core.names import UnitRef
from llmjobs_core.states import JobClass, Recovery
from llmjobs_testing.worker_jobs import CHAT, POOL


def make_claim(body: dict[str, Any] | None = None, **changes: Any) -> Claim:
    """Return a first claim of a chat request, changed as asked."""
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    fields: dict[str, Any] = {
        "ref": UnitRef("job-1"),
        "fence": 1,
        "pool": POOL,
        "model": "scripted",
        "endpoint": CHAT,
        "body": msgspec.json.encode(chat if body is None else body),
        "recovery": Recovery.RESUME,
        "attempt": 1,
        "failures": 0,
        "backoff_limit": 3,
        "custom_id": "",
        "job_class": JobClass.STANDARD,
        "text": "",
        "token_ids": (),
        "tokens": 0,
        "prompt_token_ids": (),
    }
    return Claim(**(fields | changes))
