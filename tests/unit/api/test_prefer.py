"""What clients say of how they wish to be answered."""

import pytest

from llmjobs_api.prefer import wants_events


@pytest.mark.parametrize(
    ("accept", "want"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("application/json, Text/Event-Stream;q=0.5", True),
        ("text/event-streams", False),
    ],
)
def test_only_who_names_event_streams_is_answered_by_one(accept: str | None, want: bool) -> None:
    assert wants_events(accept) is want
