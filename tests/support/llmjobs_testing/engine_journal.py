"""An engine's own record of its requests, on disk: what it saw outlives its SIGKILL.

One JSON line when a request opens and one when it closes. A request that was open when the engine
died has no second line.
"""

from pathlib import Path

import msgspec

from llmjobs_testing.engine_script import Seen


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as the engine last wrote it down. Times are seconds since the epoch."""

    number: int
    """Names the request within the engine."""
    run: int
    """Names the process that wrote it: an engine that was started again counts from 0."""
    user: str
    """The request's ``user``: who asked, as the test names it."""
    opened_s: float
    closed_s: float | None
    outcome: str
    start: int
    sent: int

    @property
    def reached(self) -> int:
        """How far the text was generated, in tokens from the very start."""
        return self.start + self.sent


class Journal:
    """Appends to the file of one engine; each line is with the kernel when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._run = len({entry.run for entry in read_journal(path)})
        self._file = path.open("ab", buffering=0)
        self._numbers: dict[int, int] = {}

    def write(self, seen: Seen) -> None:
        """Write *seen* down as it is now."""
        number = self._numbers.setdefault(id(seen), len(self._numbers))
        fields = {**seen.summary(), "number": number, "run": self._run}
        self._file.write(msgspec.json.encode(fields) + b"\n")


def read_journal(path: Path) -> list[Entry]:
    """Return the requests in *path* in the order they opened, each as it was last written down."""
    if not path.exists():
        return []
    entries: dict[tuple[int, int], Entry] = {}
    decoder = msgspec.json.Decoder(Entry)
    # A line that is being written right now has no end yet.
    for line in path.read_bytes().split(b"\n")[:-1]:
        entry = decoder.decode(line)
        entries[entry.run, entry.number] = entry
    return list(entries.values())
