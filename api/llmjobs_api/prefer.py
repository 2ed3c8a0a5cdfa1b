"""How long a client wishes to wait: ``Prefer: wait=N`` and ``?wait=N``. Pure."""

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
