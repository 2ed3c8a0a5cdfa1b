"""The store gets every piece once, in order, whatever is lost on the way."""

from hypothesis import given
from hypothesis import strategies as st

from llmjobs_core.jobs import ProgressUpdate
from llmjobs_core.names import UnitRef
from llmjobs_testing.claims import make_claim
from llmjobs_worker.checkpoint import Checkpoint
from llmjobs_worker.outlet import Piece


class FakeStore:
    """What the store's script does with updates of one request."""

    def __init__(self) -> None:
        self.text = b""
        self.ids: tuple[int, ...] = ()
        self.tokens = 0

    def progress(self, update: ProgressUpdate) -> bool:
        """Apply *update*; False when text before it is missing."""
        text = update.text.encode()
        if update.reset:
            self.text, self.ids, self.tokens = b"", (), 0
        elif update.at >= 0 and len(self.text) != update.at:
            return len(self.text) >= update.at + len(text)
        elif update.tokens_at >= 0 and self.tokens != update.tokens_at:
            return self.tokens >= update.tokens_at + update.tokens
        self.text += text
        self.ids += update.token_ids
        self.tokens += update.tokens
        return True


def run(steps: list[tuple[str, str]]) -> tuple[FakeStore, str]:
    """Return the store after *steps* and then good ones, and the text it should have."""
    store, checkpoint = FakeStore(), Checkpoint.of_claim(make_claim())
    want, ids = "", 0
    states: list[tuple[bytes, tuple[int, ...], int]] = [(b"", (), 0)]
    for step, text in [*steps, ("add", "end"), *[("sent", "")] * 3]:
        if step == "add":
            want, ids = want + text, ids + 1
            checkpoint.add(Piece(text, (ids,), 1))
        elif step == "restart":
            want = ""
            checkpoint.restart(0)
        elif step == "store_loses":
            store.text, store.ids, store.tokens = states[-1 - min(int(text), len(states) - 1)]
        elif (update := checkpoint.build_update()) is not None and step != "not_sent":
            is_added = store.progress(update)
            if step == "sent" and is_added:
                checkpoint.confirm(update)
            elif step == "sent":
                checkpoint.rewind()
            states.append((store.text, store.ids, store.tokens))
    return store, want


THINK = st.just(("add", ""))
"""Progress without text."""
ADD = st.text(min_size=1, max_size=4).map(lambda text: ("add", text))
SEND = st.sampled_from([("sent", ""), ("answer_lost", ""), ("not_sent", "")])
RESTART = st.just(("restart", ""))
LOSE = st.integers(0, 3).map(lambda count: ("store_loses", str(count)))


@given(st.lists(st.one_of(ADD, THINK, SEND, RESTART), max_size=30))
def test_lost_calls_and_answers_lose_and_double_nothing(steps: list[tuple[str, str]]) -> None:
    store, want = run(steps)
    assert store.text.decode() == want
    assert len(store.ids) == store.tokens


@given(st.lists(st.one_of(ADD, SEND, LOSE), max_size=30))
def test_a_store_that_lost_its_last_second_is_given_it_again(
    steps: list[tuple[str, str]],
) -> None:
    store, want = run(steps)
    assert store.text.decode() == want
    assert store.ids == tuple(range(1, len(store.ids) + 1))


def test_updates_say_where_they_start() -> None:
    checkpoint = Checkpoint.of_claim(make_claim(text="é", token_ids=(1,), tokens=1))
    assert checkpoint.build_update() is None
    checkpoint.add(Piece("🙂", (2, 3), 2))
    update = checkpoint.build_update()
    assert update == ProgressUpdate(
        ref=UnitRef("job-1"), fence=1, text="🙂", token_ids=(2, 3), tokens=2, at=2
    )
    checkpoint.confirm(update)
    checkpoint.add(Piece("x", (4,), 1))
    update = checkpoint.build_update()
    assert update is not None
    assert update.at == 6


def test_an_unconfirmed_update_is_sent_again_as_it_was() -> None:
    checkpoint = Checkpoint.of_claim(make_claim())
    checkpoint.add(Piece("a", (), 1))
    first = checkpoint.build_update()
    checkpoint.add(Piece("b", (), 1))
    assert checkpoint.build_update() is first
    assert first is not None
    checkpoint.confirm(first)
    second = checkpoint.build_update()
    assert second is not None
    assert (second.text, second.at) == ("b", 1)


def test_a_store_that_is_behind_gets_everything_again() -> None:
    claim = make_claim(text="a", token_ids=(1,), tokens=1, prompt_token_ids=(9,))
    checkpoint = Checkpoint.of_claim(claim)
    checkpoint.add(Piece("b", (2,), 1))
    checkpoint.build_update()
    checkpoint.rewind()
    update = checkpoint.build_update()
    assert update is not None
    assert (update.text, update.token_ids, update.tokens) == ("ab", (1, 2), 2)
    assert (update.reset, update.prompt_token_ids) == (True, (9,))


def test_a_restart_voids_what_was_there() -> None:
    checkpoint = Checkpoint.of_claim(make_claim(text="a", token_ids=(1,), tokens=1))
    checkpoint.restart(0)
    checkpoint.add(Piece("b", (2,), 1))
    update = checkpoint.build_update()
    assert update is not None
    assert (update.text, update.token_ids, update.reset) == ("b", (2,), True)


def test_void_tokens_are_kept_when_the_store_gets_everything_again() -> None:
    checkpoint = Checkpoint.of_claim(make_claim(text="a", tokens=3, regenerated=4))
    checkpoint.rewind()
    update = checkpoint.build_update()
    assert update is not None
    assert (update.reset, update.regenerated, update.tokens) == (True, 4, 3)


def test_an_answer_that_is_not_all_text_says_so_to_the_store() -> None:
    checkpoint = Checkpoint.of_claim(make_claim())
    checkpoint.add(Piece("", (), 2, is_partial=True))
    update = checkpoint.build_update()
    assert update is not None
    assert (update.tokens, update.is_partial) == (2, True)
