"""What stands in front of every peer: the same two routes, the same body, one uvicorn process.

``POST /jobs`` answers 202 when the job is in the queue; ``POST /jobs/wait`` answers when it has
ended, by the peer's own best way of waiting.
"""

from typing import Any

from pydantic import BaseModel


class JobRequest(BaseModel):
    """One job: an OpenAI request, as llmjobs takes it."""

    body: dict[str, Any]


class Accepted(BaseModel):
    """A job that was accepted."""

    id: str


class Ended(BaseModel):
    """A job that has ended."""

    id: str
    text: str
