"""The last gate before watchers: nothing passes that could be taken back. Pure, one an answer.

Two things hold text up. A character may span several tokens: the ids wait for the text. And text
may be the beginning of a stop string: it waits until it can't be one any more, because a stop
string is cut off whole, and what a watcher has seen stays. What has passed is what a checkpoint
holds, so a stop string is found again whole by whoever continues.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

Ids = tuple[int, ...]


class Piece(msgspec.Struct, frozen=True):
    """What a chunk adds to the checkpoint."""

    text: str = ""
    token_ids: Ids = ()
    tokens: int = 0
    prompt_token_ids: Ids = ()
    is_partial: bool = False
    """Whether more than the text was generated (reasoning, a tool call)."""

    def __bool__(self) -> bool:
        return bool(self.text or self.prompt_token_ids or (self.is_partial and self.tokens))


NOTHING = Piece()


@dataclass(frozen=True, slots=True)
class StopRule:
    """The client's stop strings."""

    strings: tuple[str, ...] = ()
    is_included: bool = False
    """Whether the one that was found stays in the text (vLLM's ``include_stop_str_in_output``)."""
    min_tokens: int = 0
    """A stop string must end after so many tokens of the whole answer."""


NO_STOPS = StopRule()


def parse_stop_rule(body: dict[str, Any]) -> StopRule:
    """Return the stop strings of a request; none where the engine would refuse them anyway."""
    stop, least = body.get("stop"), body.get("min_tokens")
    strings = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    if not all(isinstance(item, str) and item for item in strings):
        return NO_STOPS
    is_included = body.get("include_stop_str_in_output") is True
    return StopRule(tuple(strings), is_included, least if isinstance(least, int) else 0)


def join_pieces(pieces: Sequence[Piece]) -> Piece:
    """Return *pieces* as one; their prompt ids are told apart."""
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        "".join([piece.text for piece in pieces]),
        tuple([token_id for piece in pieces for token_id in piece.token_ids]),
        sum(piece.tokens for piece in pieces),
        is_partial=any(piece.is_partial for piece in pieces),
    )


class Outlet:
    """Text of one answer on its way out."""

    def __init__(self, rule: StopRule, text_before: str, tokens_before: int) -> None:
        """*text_before* and *tokens_before* have passed already, at earlier workers."""
        self._rule = rule
        self._longest = max((len(stop) for stop in rule.strings), default=1) - 1
        self._tail = text_before[len(text_before) - self._longest :] if self._longest else ""
        """The end of what passed: a stop string may begin in it if sampling took another turn."""
        self._held: list[Piece] = []
        self._tokens = tokens_before
        self.stopped_by: str | None = None
        """The stop string that ended the answer."""

    def add(self, piece: Piece) -> int:
        """Add what was generated; returns how many of its characters a stop string cut off.

        As in vLLM the stop string that ends first counts, and the earlier in the client's list.
        A chunk that crosses ``min_tokens`` is taken to lie behind it whole.
        """
        self._held.append(piece)
        self._tokens += piece.tokens
        if not piece.text or not self._rule.strings or self._tokens <= self._rule.min_tokens:
            return 0
        seen = self._tail + self._held_text
        found = self._find_stop(seen, len(seen) - len(piece.text))
        if found is None:
            return 0
        self.stopped_by, end = found
        start = end if self._rule.is_included else end - len(self.stopped_by)
        return self._cut(min(len(seen) - start, len(self._held_text)))

    @property
    def looks_for_stops(self) -> bool:
        """Whether text may be held up, or cut."""
        return bool(self._rule.strings)

    def pass_run(self, text: str, ids: Ids, open_tokens: int) -> Piece:
        """Return what may pass of tokens that came together, where nothing looks for stop strings.

        *ids* are all of their ids, the last *open_tokens* of which have no text yet.
        """
        self._tokens += len(ids)
        whole = len(ids) - open_tokens
        if whole:
            self._held.append(Piece(text, ids[:whole], whole))
        passed = self._take(len(self._held)) if whole else NOTHING
        if open_tokens:
            self._held.append(Piece("", ids[whole:], open_tokens))
        return passed

    def take_settled(self) -> Piece:
        """Return what may pass now: whole tokens, and no end of it may begin a stop string."""
        if not self._held or not (self._held[-1].text or self._held[-1].is_partial):
            return NOTHING  # an id without text changes nothing for those before it
        if not self._longest and len(self._held) == 1:
            return self._held.pop()  # as nearly always
        limit = len(self._held_text) - self._count_open()
        count, length = 0, 0
        for i, piece in enumerate(self._held, 1):
            length += len(piece.text)
            if length > limit:
                break
            if piece.text or piece.is_partial:
                count = i
        return self._take(count)

    def take_rest(self) -> Piece:
        """Return everything that is left, at the answer's end."""
        return self._take(len(self._held))

    @property
    def _held_text(self) -> str:
        return "".join(piece.text for piece in self._held)

    def _find_stop(self, seen: str, old: int) -> tuple[str, int] | None:
        """Return the stop string that ends first behind *old* characters, and where it ends."""
        best: tuple[str, int] | None = None
        for stop in self._rule.strings:
            at = seen.find(stop, max(0, old - len(stop) + 1))
            if at >= 0 and (best is None or at + len(stop) < best[1]):
                best = stop, at + len(stop)
        return best

    def _count_open(self) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        text = self._tail + self._held_text
        for count in range(min(self._longest, len(text)), 0, -1):
            end = text[-count:]
            if any(len(stop) > count and stop.startswith(end) for stop in self._rule.strings):
                return count
        return 0

    def _cut(self, count: int) -> int:
        """Drop *count* characters at the end; the tokens stay, they were generated."""
        left = len(self._held_text) - count
        kept: list[Piece] = []
        for piece in self._held:
            kept.append(replace(piece, text=piece.text[:left]))
            left -= len(kept[-1].text)
        self._held = kept
        return count

    def _take(self, count: int) -> Piece:
        taken, self._held = self._held[:count], self._held[count:]
        joined = join_pieces(taken) if taken else NOTHING
        if self._longest:
            self._tail = (self._tail + joined.text)[-self._longest :]
        return joined
