"""What of an answer the store has, and what it still has to get: pure, one a request.

The store is told in updates that say where they start, so one whose answer was lost is sent again
as it was. Everything is kept, so that a store that lost its last second can be given it anew.
"""

from llmjobs_core.jobs import Claim, ProgressUpdate
from llmjobs_core.names import UnitRef
from llmjobs_worker.outlet import Piece, join_pieces


class Checkpoint:
    """The text so far of one request, and how much of it is written."""

    def __init__(
        self, ref: UnitRef, fence: int, known: Piece, prompt_token_ids: tuple[int, ...]
    ) -> None:
        """*known* is what the store has already."""
        self.ref = ref
        self.fence = fence
        self._known = [known] if known.text or known.tokens else []
        self._new: list[Piece] = []
        self._prompt_ids = prompt_token_ids
        self._has_new_prompt_ids = False
        self._reset = False
        self._regenerated = 0
        self._at = len(known.text.encode())
        self._tokens_at = known.tokens
        self._sent: ProgressUpdate | None = None

    @classmethod
    def of_claim(cls, claim: Claim) -> "Checkpoint":
        """Return the checkpoint that *claim* starts from."""
        known = Piece(claim.text, claim.token_ids, claim.tokens, is_partial=claim.is_partial)
        checkpoint = cls(claim.ref, claim.fence, known, claim.prompt_token_ids)
        checkpoint._regenerated = claim.regenerated
        return checkpoint

    @property
    def is_written(self) -> bool:
        """Whether the store has everything."""
        return not (self._sent or self._new or self._reset or self._has_new_prompt_ids)

    @property
    def is_unconfirmed(self) -> bool:
        """Whether an update was sent and its answer never came."""
        return self._sent is not None

    def add(self, piece: Piece) -> None:
        """Add what the engine generated."""
        if piece.prompt_token_ids:
            self._prompt_ids, self._has_new_prompt_ids = piece.prompt_token_ids, True
        if piece.text or piece.tokens:
            self._new.append(piece)

    def restart(self, regenerated: int) -> None:
        """Void all text so far, here and in the store: *regenerated* tokens with earlier ones."""
        self._regenerated = regenerated
        self._known, self._new = [], []
        self._prompt_ids, self._has_new_prompt_ids = (), False
        self._begin_anew()

    def rewind(self) -> None:
        """The store has less than was written: it gets everything again."""
        self._new = [*self._known, *self._new]
        self._known = []
        self._has_new_prompt_ids = bool(self._prompt_ids)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._reset, self._at, self._tokens_at, self._sent = True, 0, 0, None

    def build_update(self) -> ProgressUpdate | None:
        """Return what to send: the unconfirmed update again, or what is new; None if nothing."""
        if self._sent is None and not self.is_written:
            new = join_pieces(self._new)
            self._sent = ProgressUpdate(
                ref=self.ref,
                fence=self.fence,
                text=new.text,
                token_ids=new.token_ids,
                tokens=new.tokens,
                prompt_token_ids=self._prompt_ids if self._has_new_prompt_ids else (),
                reset=self._reset,
                regenerated=self._regenerated if self._reset else 0,
                is_partial=new.is_partial,
                at=-1 if self._reset or not new.text else self._at,
                tokens_at=-1 if self._reset or new.text else self._tokens_at,
            )
            self._known += self._new
            self._new, self._reset, self._has_new_prompt_ids = [], False, False
        return self._sent

    def confirm(self, update: ProgressUpdate) -> None:
        """Note that the store has *update*."""
        if update is self._sent:
            self._at += len(update.text.encode())
            self._tokens_at += update.tokens
            self._sent = None
