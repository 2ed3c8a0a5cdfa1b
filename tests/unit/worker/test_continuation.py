"""However often a generation is cut, its answer is the one that was never cut.

Everything pure of the worker runs against a pure engine: plan, assemble, checkpoint, and again.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from llmjobs_testing.claims import make_claim
from llmjobs_testing.engine_generate import build_generation
from llmjobs_testing.engine_script import Script
from llmjobs_testing.engine_text import FIRST_GENERATED_ID, build_text
from llmjobs_worker.assemble import Answer
from llmjobs_worker.checkpoint import Checkpoint
from llmjobs_worker.chunks import parse_chunk
from llmjobs_worker.resume import EngineKind, EngineTraits, Mode, plan_request

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
Kind = Literal["vllm", "llamacpp", "external"]
TRAITS = {
    "vllm": EngineTraits(EngineKind.VLLM, max_model_len=100_000),
    "llamacpp": EngineTraits(EngineKind.LLAMACPP),
    "external": EngineTraits(EngineKind.OPENAI),
}
STOPS = ["t7 ", "t3 t4", " t5", "é", "🙂t15 t16", "t1", "t11 ", "0 t21 t2", "never", "t9 never"]


@dataclass
class Store:
    """What is written down of one request, and what its watcher has seen."""

    endpoint: str
    body: dict[str, Any]
    fields: dict[str, Any] = field(default_factory=dict)
    watched: str = ""
    resets: int = 0

    def claim(self) -> Any:
        return make_claim(self.body, endpoint=self.endpoint, **self.fields)

    def write(self, checkpoint: Checkpoint) -> None:
        """Do what the store's script does with an update."""
        while (update := checkpoint.build_update()) is not None:
            old = self.fields
            if update.reset:
                self.watched, self.resets = "", self.resets + 1
                old = {"regenerated": update.regenerated}
            self.watched += update.text
            ids = (*old.get("token_ids", ()), *update.token_ids)
            self.fields = {
                "text": old.get("text", "") + update.text,
                "token_ids": ids,
                "tokens": old.get("tokens", 0) + update.tokens,
                "prompt_token_ids": update.prompt_token_ids or old.get("prompt_token_ids", ()),
                "regenerated": old.get("regenerated", 0),
                "is_partial": old.get("is_partial", False) or update.is_partial,
            }
            if kept := [i for i in ids if i >= FIRST_GENERATED_ID]:
                assert kept == [FIRST_GENERATED_ID + i for i in range(len(kept))]
            checkpoint.confirm(update)


def run_worker(
    store: Store, kind: Kind, script: Script, cut: int | None
) -> tuple[dict[str, Any] | None, Answer]:
    """Run one worker, dead after *cut* chunks; returns the response if it lived to the end."""
    claim = store.claim()
    plan = plan_request(claim, TRAITS[kind])
    checkpoint = Checkpoint.of_claim(claim)
    if plan.mode is Mode.RESTART:
        checkpoint.restart(plan.before.regenerated)
        store.write(checkpoint)
    answer = Answer(
        claim.endpoint,
        claim.model,
        plan.before,
        exact=plan.exact,
        stop=plan.stop,
        tells_ids=plan.tells_ids,
    )
    if plan.mode is Mode.FINISHED:
        answer.finish("length")
        return msgspec.json.decode(answer.build_response()), answer
    generation = build_generation(plan.path, plan.body, script, kind=kind)
    chunks = generation.build_head()
    for step in generation.steps():
        chunks += generation.build_chunks(step)
    for i, chunk in enumerate(chunks + generation.build_tail()):
        if i == cut:
            return None, answer
        if piece := answer.take(parse_chunk(msgspec.json.encode(chunk))):
            checkpoint.add(piece)
            store.write(checkpoint)
            seen = store.fields["text"]
            if (
                plan.exact and not store.fields["is_partial"]
            ):  # ids and text of a checkpoint always agree
                assert seen == build_text(store.fields["tokens"])[: len(seen)]
                assert len(store.fields["token_ids"]) == store.fields["tokens"]
        if answer.is_stopped:
            break
    assert answer.is_whole
    checkpoint.add(answer.take_rest())
    store.write(checkpoint)
    return msgspec.json.decode(answer.build_response()), answer


def run_cut(
    endpoint: str, body: dict[str, Any], kind: Kind, script: Script, cuts: list[int]
) -> tuple[dict[str, Any], Store, Answer]:
    """Return the answer over one worker a cut, and one more that lives."""
    store = Store(endpoint, body)
    for cut in [*cuts, None]:
        response, answer = run_worker(store, kind, script, cut)
        if response is not None:
            return response, store, answer
    raise AssertionError("the last worker gave no answer")


def run_uncut(endpoint: str, body: dict[str, Any], kind: Kind, script: Script) -> dict[str, Any]:
    """Return what the engine itself answers to the client's request."""
    generation = build_generation(endpoint, body, script, kind=kind)
    return generation.build_whole(list(generation.steps()))


def tell(response: dict[str, Any]) -> list[Any]:
    """Return what a client reads of an answer."""
    (choice,) = response["choices"]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    return [text, choice["finish_reason"], choice.get("stop_reason"), response["usage"]]


def make_body(endpoint: str, **fields: Any) -> dict[str, Any]:
    given = {k: v for k, v in fields.items() if v is not None}
    if endpoint == CHAT:
        return {"model": "m", "messages": [{"role": "user", "content": "a b"}], **given}
    return {"model": "m", "prompt": "a b ", **given}


endpoints = st.sampled_from([CHAT, COMPLETIONS])
cut_lists = st.lists(st.integers(0, 45), max_size=5)
limits = st.none() | st.integers(1, 50)
stop_lists = st.none() | st.lists(st.sampled_from(STOPS), min_size=1, max_size=3)


@example(endpoint=CHAT, cuts=[16, 2], limit=None, stop=["🙂t15 t16"], least=0, included=False)
@example(endpoint=CHAT, cuts=[5, 1], limit=None, stop=["t3 t4"], least=0, included=True)
@example(endpoint=CHAT, cuts=[], limit=16, stop=None, least=0, included=False)
@example(endpoint=COMPLETIONS, cuts=[15, 15], limit=31, stop=["t1"], least=14, included=False)
@given(endpoints, cut_lists, limits, stop_lists, st.integers(0, 20), st.booleans())
def test_an_exact_engines_answer_is_that_of_an_uncut_request(
    endpoint: str,
    cuts: list[int],
    limit: int | None,
    stop: list[str] | None,
    least: int,
    included: bool,
) -> None:
    script = Script(tokens=40)
    body = make_body(
        endpoint,
        max_tokens=limit,
        stop=stop,
        min_tokens=min(least, limit or least),
        include_stop_str_in_output=included,
        return_token_ids=True,
    )
    response, store, answer = run_cut(endpoint, body, "vllm", script, cuts)
    assert tell(response) == tell(run_uncut(endpoint, body, "vllm", script))
    assert store.watched == tell(response)[0]
    assert store.resets == 0
    assert answer.build_usage().regenerated_tokens == 0
    made = response["usage"]["completion_tokens"]
    ids = [FIRST_GENERATED_ID + i for i in range(min(made, 40))]
    assert response["choices"][0]["token_ids"] == ids + [2] * (made - len(ids))


@given(endpoints, cut_lists, limits, stop_lists)
def test_a_text_engines_answer_is_that_of_an_uncut_request(
    endpoint: str, cuts: list[int], limit: int | None, stop: list[str] | None
) -> None:
    """Where a text is tokenised anew as it was, as here; else only text and counts may differ."""
    script = Script(tokens=40)
    body = make_body(endpoint, max_tokens=limit, stop=stop)
    response, store, answer = run_cut(endpoint, body, "llamacpp", script, cuts)
    assert tell(response) == tell(run_uncut(endpoint, body, "llamacpp", script))
    assert store.watched == tell(response)[0]
    assert (store.resets, answer.build_usage().regenerated_tokens) == (0, 0)


@given(cut_lists, limits, stop_lists)
def test_an_engine_that_can_not_continue_starts_again_and_says_so(
    cuts: list[int], limit: int | None, stop: list[str] | None
) -> None:
    script = Script(tokens=40)
    body = make_body(CHAT, max_tokens=limit, stop=stop)
    store = Store(CHAT, body)
    void = 0
    response: dict[str, Any] | None = None
    for cut in [*cuts, None]:
        void += store.fields.get("tokens", 0)
        resets = store.resets + bool(store.fields.get("tokens", 0))
        response, answer = run_worker(store, "external", script, cut)
        if response is not None:
            break
        assert store.resets == resets
    assert response is not None
    assert tell(response) == tell(run_uncut(CHAT, body, "external", script))
    assert store.watched == tell(response)[0]
    assert answer.build_usage().regenerated_tokens == void


@given(cut_lists, st.integers(1, 6))
def test_reasoning_starts_again_whatever_the_engine(cuts: list[int], thoughts: int) -> None:
    script = Script(tokens=20, reasoning=thoughts)
    for kind in ("vllm", "llamacpp"):
        body = make_body(CHAT)
        response, store, _ = run_cut(CHAT, body, kind, script, cuts)
        message = response["choices"][0]["message"]
        assert message["reasoning"] == build_text(thoughts)
        assert message["reasoning"] + message["content"] == build_text(20)
        assert store.watched == message["content"]
