"""How a client wishes to be answered: ``Prefer: wait=N``, ``Accept: text/event-stream``. Pure."""

import re

_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)


def parse_wait(header: str | None, limit_s: float) -> float | None:
    """Return the seconds of ``Prefer: wait``, cut to *limit_s*; None when there is none to honour.

    ``respond-async`` alone asks for what is done anyway. What can't be read is ignored, as a
    preference may be. Source: https://www.rfc-editor.org/rfc/rfc7240
    """
    if header is None:
        return None
    for part in header.split(","):
        found = _WAIT.fullmatch(part.partition(";")[0].strip())
        if found:
            return min(float(found.group(1)), limit_s)
    return None


def wants_events(accept: str | None) -> bool:
    """Whether an Accept header names event streams; ``*/*`` takes the plain answer."""
    if accept is None or "text/event-stream" not in accept.lower():
        return False
    names = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return "text/event-stream" in names
