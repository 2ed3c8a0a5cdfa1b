"""Sampled stacks as a table: where a process spends its time. Pure.

Source: the collapsed format of flame graphs, which ``py-spy record --format raw`` writes: frames
from the outermost to the innermost with semicolons between, a space, and how many samples had it.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_PLACE = re.compile(r"^(?P<name>.+) \((?P<file>[^()]+?)(?::\d+)?\)$")
_WAITS = {
    "wait", "select", "poll", "accept", "sleep", "join", "_recv_msg", "_wait_for_tstate_lock",
    "_worker", "_read_from_socket", "can_read",
}  # fmt: skip
"""Functions that, as the innermost of a stack, wait: for a lock, a socket, or work."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the time a function had."""

    function: str
    """Its name and file."""
    own: float
    """Share (0 to 1) in which it was the innermost."""
    total: float
    """Share in which it, or what it called, was running."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What was sampled of one process."""

    samples: int
    """Of all threads, without those that waited."""
    shares: tuple[Share, ...]
    """The largest own share first."""


def summarise(raw: str) -> Profile:
    """Return where the time went, by function; stacks that only wait are left out."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in _parse(raw.splitlines()):
        if find_name(stack[-1]) in _WAITS:
            continue
        own[stack[-1]] += count
        for function in set(stack):
            total[function] += count
    samples = own.total()
    shares = [Share(name, own[name] / samples, total[name] / samples) for name in total]
    return Profile(samples, tuple(sorted(shares, key=lambda s: (-s.own, -s.total, s.function))))


def render_profile(profile: Profile, *, top: int) -> str:
    """Return the *top* functions by own time, and those of our own packages by all of it."""
    ours = [share for share in profile.shares if "llmjobs_" in share.function]
    by_total = sorted(ours, key=lambda share: -share.total)
    lines = [f"{profile.samples:,} samples that did not wait", "", "   own   total  by own time"]
    lines += [_render_share(share) for share in profile.shares[:top] if share.own]
    lines += ["", "   own   total  of llmjobs, by total time"]
    return "\n".join([*lines, *(_render_share(share) for share in by_total[:top])])


def find_name(frame: str) -> str:
    """Return the bare name of a frame's function: of ``Condition.wait (threading.py)``, wait."""
    return frame.partition(" (")[0].rpartition(".")[2]


def _render_share(share: Share) -> str:
    return f"{share.own:6.1%} {share.total:6.1%}  {share.function}"


def _parse(lines: Iterable[str]) -> Iterable[tuple[list[str], int]]:
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if stack:
            yield [_strip_line(frame) for frame in stack.split(";")], int(count)


def _strip_line(frame: str) -> str:
    """Return a frame without the line's number, so that a function is one whole."""
    found = _PLACE.match(frame)
    return f"{found['name']} ({found['file']})" if found else frame
