"""The examples on a terminal: a bar for each job, and its tokens as they come.

Where the output is no terminal, each change of state is one line.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_TEXT_WIDTH = 64
_ENDED = frozenset({"Succeeded", "Failed", "Cancelled", "Expired"})


class Shown(Protocol):
    """What is shown of a job."""

    name: str
    door: str
    state: str
    message: str
    done: int
    total: int
    text: str


class ExamplesDisplay:
    """Shows *jobs* while it is entered; call `update` when one has changed."""

    def __init__(self, console: Console, jobs: Sequence[Shown]) -> None:
        self._console = console
        self._jobs = jobs
        self._told: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=10, get_renderable=self._render)

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture standing."""
        if self._console.is_terminal:
            self._live.stop()

    def update(self, job: Shown) -> None:
        """Show *job* as it is now."""
        if self._console.is_terminal:
            return
        line = job.state if job.total == 1 else f"{job.state} {job.done}/{job.total}"
        if self._told.get(job.name) != line:
            self._told[job.name] = line
            why = f": {job.message}" if job.state == "Queued" and job.message else ""
            self._console.print(f"     {job.name:<16}{line}{why}", soft_wrap=True, markup=False)

    def _render(self) -> RenderableType:
        table = Table(box=None, show_header=False, pad_edge=False)
        for job in self._jobs:
            done = job.total if job.state in _ENDED else job.done
            table.add_row(
                Text(job.name, style="bold"),
                Text(job.door, style="dim"),
                ProgressBar(total=job.total, completed=done, width=24, pulse=_is_generating(job)),
                Text(f"{done}/{job.total}"),
                Text(job.state, style="green" if job.state == "Succeeded" else ""),
                Text(_tail(job), style="cyan" if job.text else "dim", no_wrap=True),
            )
        return Group(table)


def _is_generating(job: Shown) -> bool:
    return job.state == "Running" and job.total == 1


def _tail(job: Shown) -> str:
    """Return the end of the text, or why there is none yet."""
    text = " ".join((job.text or job.message).split())
    return text if len(text) <= _TEXT_WIDTH else f"…{text[-_TEXT_WIDTH:]}"
