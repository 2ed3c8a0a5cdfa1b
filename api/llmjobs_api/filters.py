"""What jobs are chosen by in a query string: the same for listing them and for retrying them."""

from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import BeforeValidator

from llmjobs_api.problems import Problem
from llmjobs_core.states import JobReason, JobState

E = TypeVar("E", bound=StrEnum)


def _known_word(text: object, words: type[E]) -> object:
    """Return the member that *text* names in whatever case; *text* itself if it names none."""
    if not isinstance(text, str):
        return text
    return next((word for word in words if word.lower() == text.lower()), text)


_KNOWN_STATE = BeforeValidator(lambda text: _known_word(text, JobState))
_STATE_QUERY = Query(description="In any case: `failed` is `Failed`.")
StateFilter = Annotated[JobState, _KNOWN_STATE, _STATE_QUERY]
OptionalStateFilter = Annotated[JobState | None, _KNOWN_STATE, _STATE_QUERY]
ReasonFilter = Annotated[
    str | None,
    BeforeValidator(lambda text: _known_word(text, JobReason)),
    Query(
        max_length=64,
        description="Why it is in its state: `Poisoned`, `RequestFailed`, ... In any case.",
    ),
]
NamespaceFilter = Annotated[str | None, Query(max_length=63, description="`*` for all.")]
LabelFilter = Annotated[str | None, Query(max_length=128, description="`name=value`")]


def parse_label(text: str | None) -> tuple[str, str] | None:
    """Return a label's name and value; raises the 422 problem."""
    if text is None:
        return None
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise Problem(422, "invalid_request", "label must be name=value", param="label")
    return name, value
