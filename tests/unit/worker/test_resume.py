"""What is sent for a request that was interrupted, by what the engine can do."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from llmjobs_core.states import Recovery
from llmjobs_testing.claims import make_claim
from llmjobs_worker.assemble import Before
from llmjobs_worker.outlet import NO_STOPS, StopRule
from llmjobs_worker.resume import EngineKind, EngineTraits, Mode, plan_request

VLLM = EngineTraits(EngineKind.VLLM, max_model_len=1000)
LLAMACPP = EngineTraits(EngineKind.LLAMACPP)
OPENAI = EngineTraits(EngineKind.OPENAI)
USER = {"role": "user", "content": "hi"}
CHAT: dict[str, Any] = {"model": "m", "messages": [USER], "temperature": 0.5, "seed": 7}
COMPLETION: dict[str, Any] = {"model": "m", "prompt": "once", "max_tokens": 10}
CUT: dict[str, Any] = {
    "text": "upon a",
    "token_ids": (21, 22, 23),
    "tokens": 3,
    "prompt_token_ids": (11, 12),
}
CUT_WITHOUT_IDS = {"text": "upon a", "tokens": 3}
COMPLETIONS = "/v1/completions"


def test_a_first_attempt_is_the_clients_request_as_a_stream() -> None:
    plan = plan_request(make_claim({**CHAT, "stream": False, "x": 1}), OPENAI)
    assert (plan.mode, plan.path, plan.before) == (Mode.FRESH, "/v1/chat/completions", Before())
    assert plan.body == {
        **CHAT, "x": 1, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


def test_vllm_is_asked_for_token_ids_and_running_usage() -> None:
    plan = plan_request(make_claim(CHAT), VLLM)
    assert plan.exact
    assert plan.body["return_token_ids"] is True
    assert plan.body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_the_pools_model_is_used_where_the_body_names_none() -> None:
    assert plan_request(make_claim({"messages": [USER]}), OPENAI).body["model"] == "scripted"


def test_ids_continue_exactly() -> None:
    plan = plan_request(make_claim({**CHAT, "max_completion_tokens": 10}, **CUT), VLLM)
    assert (plan.mode, plan.path, plan.exact) == (Mode.TOKENS, COMPLETIONS, True)
    assert plan.body["prompt"] == [11, 12, 21, 22, 23]
    assert plan.body["max_tokens"] == 7
    assert (plan.body["temperature"], plan.body["seed"]) == (0.5, 7)
    assert not {"messages", "max_completion_tokens"} & {*plan.body}
    assert plan.before == Before("upon a", 3, in_prompt=True, prompt_tokens=2)


def test_a_chat_without_a_limit_may_fill_the_models_context() -> None:
    assert plan_request(make_claim(CHAT, **CUT), VLLM).body["max_tokens"] == 995
    unknown = plan_request(make_claim(CHAT, **CUT), EngineTraits(EngineKind.VLLM))
    assert unknown.body["max_tokens"] is None


@pytest.mark.parametrize(("given", "left"), [({"max_tokens": 10}, 7), ({}, 13)])
def test_a_completions_limit_counts_what_is_there(given: dict[str, int], left: int) -> None:
    body = {"model": "m", "prompt": "once", **given}
    plan = plan_request(make_claim(body, endpoint=COMPLETIONS, **CUT), VLLM)
    assert plan.body["max_tokens"] == left


def test_min_tokens_counts_what_is_there() -> None:
    assert plan_request(make_claim({**CHAT, "min_tokens": 5}, **CUT), VLLM).body["min_tokens"] == 2


@pytest.mark.parametrize("traits", [VLLM, LLAMACPP, OPENAI])
def test_a_used_up_budget_asks_for_nothing(traits: EngineTraits) -> None:
    plan = plan_request(make_claim({**CHAT, "max_tokens": 3}, **CUT), traits)
    assert (plan.mode, plan.stream) == (Mode.FINISHED, False)
    assert (plan.before.text, plan.before.tokens) == ("upon a", 3)


def test_a_full_context_asks_for_nothing() -> None:
    assert plan_request(make_claim(CHAT, **CUT), EngineTraits(EngineKind.VLLM, 5)).mode is (
        Mode.FINISHED
    )


def test_stop_strings_are_looked_for_here_where_ids_continue() -> None:
    """An engine that knew them would hold text back, so that ids and text did not match."""
    body = {**CHAT, "stop": ["x"], "include_stop_str_in_output": True, "min_tokens": 5}
    for claim in (make_claim(body), make_claim(body, **CUT)):
        plan = plan_request(claim, VLLM)
        assert plan.exact
        assert plan.stop == StopRule(("x",), is_included=True, min_tokens=5)
        assert "stop" not in plan.body
        assert plan.body["include_stop_str_in_output"] is True  # it is for stop tokens as well


@pytest.mark.parametrize("stop", ["", ["a", ""], [3], {"a": 1}], ids=str)
def test_stop_strings_that_make_no_sense_are_the_engines_to_refuse(stop: object) -> None:
    plan = plan_request(make_claim({**CHAT, "stop": stop}), VLLM)
    assert (plan.body["stop"], plan.stop) == (stop, NO_STOPS)


def test_stop_tokens_stay_with_the_engine() -> None:
    body = {**CHAT, "stop_token_ids": [5], "ignore_eos": True, "max_tokens": 10}
    rest = plan_request(make_claim(body, **CUT), VLLM).body
    assert (rest["stop_token_ids"], rest["ignore_eos"]) == ([5], True)


def test_an_engine_that_counts_as_it_goes_is_not_told_the_stop_strings() -> None:
    body = {**CHAT, "stop": "x", "max_tokens": 10}
    plan = plan_request(make_claim(body, **CUT_WITHOUT_IDS), LLAMACPP)
    assert (plan.mode, plan.path, plan.exact) == (Mode.TEXT, "/v1/chat/completions", False)
    assert plan.body["messages"] == [USER, {"role": "assistant", "content": "upon a"}]
    assert (plan.body["max_tokens"], plan.body["timings_per_token"]) == (7, True)
    assert "stop" not in plan.body
    assert plan.stop == StopRule(("x",))
    assert plan.before == Before("upon a", 3, in_prompt=True)


def test_other_engines_are_told_the_stop_strings_and_watched_as_well() -> None:
    body = {**COMPLETION, "stop": "x"}
    plan = plan_request(make_claim(body, endpoint=COMPLETIONS, **CUT_WITHOUT_IDS), OPENAI)
    assert (plan.mode, plan.body["stop"], plan.stop) == (Mode.TEXT, "x", StopRule(("x",)))


def test_the_stop_strings_of_several_answers_are_the_engines() -> None:
    plan = plan_request(make_claim({**CHAT, "stop": "x", "n": 2}), VLLM)
    assert (plan.body["stop"], plan.stop) == ("x", NO_STOPS)


def test_the_clients_own_open_message_is_continued() -> None:
    opened = [USER, {"role": "assistant", "content": "Once "}]
    plan = plan_request(make_claim({**CHAT, "messages": opened}, **CUT_WITHOUT_IDS), LLAMACPP)
    assert plan.body["messages"] == [USER, {"role": "assistant", "content": "Once upon a"}]


def test_images_continue_from_text() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}
    plan = plan_request(make_claim({**CHAT, "messages": [image]}, **CUT), VLLM)
    assert (plan.mode, plan.exact) == (Mode.TEXT, False)
    assert plan.body["messages"] == [image, {"role": "assistant", "content": "upon a"}]
    assert (plan.body["add_generation_prompt"], plan.body["continue_final_message"]) == (
        False,
        True,
    )
    assert "return_token_ids" not in plan.body
    assert plan.before == Before("upon a", 3, in_prompt=True, prompt_tokens=2)


@pytest.mark.parametrize("traits", [LLAMACPP, OPENAI])
def test_a_text_completion_continues_anywhere(traits: EngineTraits) -> None:
    plan = plan_request(make_claim(COMPLETION, endpoint=COMPLETIONS, **CUT_WITHOUT_IDS), traits)
    assert (plan.mode, plan.body["prompt"]) == (Mode.TEXT, "onceupon a")
    assert plan.body["max_tokens"] == 7


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"response_format": "odd"},
        {"structured_outputs": {"regex": "a"}},
        {"guided_json": {"type": "object"}},
        {"n": 2},
        {"logprobs": True},
        {"logprobs": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("traits", [VLLM, LLAMACPP])
def test_what_can_not_be_continued_starts_again(
    traits: EngineTraits, extra: dict[str, Any]
) -> None:
    plan = plan_request(make_claim({**CHAT, **extra}, **CUT), traits)
    assert (plan.mode, plan.exact) == (Mode.RESTART, False)
    assert plan.before == Before(regenerated=3)
    assert plan.body["messages"] == [USER]
    assert plan_request(make_claim({**CHAT, **extra}), traits).exact is False


def test_plain_text_as_response_format_continues() -> None:
    body = {**CHAT, "response_format": {"type": "text"}, "tools": [], "n": 1, "logprobs": False}
    assert plan_request(make_claim(body, **CUT), VLLM).mode is Mode.TOKENS


def test_an_api_without_prefill_starts_a_chat_again() -> None:
    assert plan_request(make_claim(CHAT, **CUT_WITHOUT_IDS), OPENAI).mode is Mode.RESTART


def test_ids_that_were_not_kept_mean_that_the_text_is_not_all() -> None:
    """Reasoning is parsed out of the text: continuing from what is left would be wrong."""
    assert plan_request(make_claim(CHAT, **CUT_WITHOUT_IDS), VLLM).mode is Mode.RESTART


def test_ids_that_do_not_match_the_text_are_not_used() -> None:
    assert plan_request(make_claim(CHAT, **{**CUT, "tokens": 5}), VLLM).mode is Mode.TEXT


def test_a_job_may_ask_to_start_again() -> None:
    plan = plan_request(make_claim(CHAT, recovery=Recovery.RESTART, **CUT), VLLM)
    assert (plan.mode, plan.exact) == (Mode.RESTART, True)


def test_a_prompt_of_ids_starts_again_without_an_exact_engine() -> None:
    claim = make_claim({**COMPLETION, "prompt": [1, 2]}, endpoint=COMPLETIONS, **CUT_WITHOUT_IDS)
    assert plan_request(claim, LLAMACPP).mode is Mode.RESTART


@pytest.mark.parametrize("prompt", [["a", "b"], [[1], [2]]], ids=str)
@pytest.mark.parametrize("traits", [VLLM, LLAMACPP])
def test_several_prompts_start_again(traits: EngineTraits, prompt: list[Any]) -> None:
    """Each has an answer of its own, and a checkpoint holds the first one's only."""
    body = {"model": "m", "prompt": prompt}
    assert plan_request(make_claim(body, endpoint=COMPLETIONS), traits).exact is False
    plan = plan_request(make_claim(body, endpoint=COMPLETIONS, **CUT), traits)
    assert plan.mode is Mode.RESTART


def test_a_list_of_one_prompt_is_one_prompt() -> None:
    body = {"model": "m", "prompt": ["once "], "max_tokens": 9}
    claim = make_claim(body, endpoint=COMPLETIONS, **CUT_WITHOUT_IDS)
    assert plan_request(claim, LLAMACPP).body["prompt"] == "once upon a"
    assert plan_request(make_claim(body, endpoint=COMPLETIONS, **CUT), VLLM).mode is Mode.TOKENS


@pytest.mark.parametrize("traits", [VLLM, LLAMACPP, OPENAI])
def test_an_answer_that_is_more_than_its_text_starts_again(traits: EngineTraits) -> None:
    plan = plan_request(make_claim(CHAT, is_partial=True, **CUT), traits)
    assert plan.mode is Mode.RESTART


def test_void_tokens_add_up_over_restarts() -> None:
    body = {**CHAT, "n": 2}
    assert plan_request(make_claim(body, regenerated=4, **CUT), VLLM).before.regenerated == 7
    assert plan_request(make_claim(body, regenerated=4), VLLM).before.regenerated == 4
    assert plan_request(make_claim(CHAT, regenerated=4, **CUT), VLLM).before.regenerated == 4


def test_a_client_that_wants_ids_gets_those_before_the_cut_too() -> None:
    body = {**CHAT, "return_token_ids": True}
    plan = plan_request(make_claim(body, **CUT), VLLM)
    assert (plan.before.token_ids, plan.before.prompt_token_ids) == ((21, 22, 23), (11, 12))
    assert plan.tells_ids
    mixed = make_claim(body, **{**CUT, "tokens": 5})
    assert plan_request(mixed, VLLM).mode is Mode.RESTART  # text would be tokenised anew


@pytest.mark.parametrize("extra", [{"use_beam_search": True}, {"best_of": 3}], ids=str)
def test_what_engines_do_not_stream_is_asked_for_whole(extra: dict[str, Any]) -> None:
    body = {**COMPLETION, **extra, "stream": True, "stream_options": {}}
    plan = plan_request(make_claim(body, endpoint=COMPLETIONS), VLLM)
    assert plan.stream is False
    assert not {"stream", "stream_options"} & {*plan.body}


def test_embeddings_are_sent_as_they_are() -> None:
    body = {"model": "m", "input": "a"}
    plan = plan_request(make_claim(body, endpoint="/v1/embeddings"), VLLM)
    assert (plan.stream, plan.body) == (False, body)


@pytest.mark.parametrize("body", [b"[1]", b"{", b""])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        plan_request(replace(make_claim(), body=body), VLLM)
