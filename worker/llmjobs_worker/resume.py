"""What to send to the engine for a claimed request, new or interrupted: pure.

An interrupted generation continues from its token ids where the engine takes them, else from its
text, else it starts again and its watchers are told so. Measured on vLLM: continuing from ids is
identical to an uninterrupted run (greedy); continuing from text is not, since it is tokenised anew.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from llmjobs_core.jobs import Claim
from llmjobs_core.states import Recovery
from llmjobs_worker.assemble import CHAT, Before
from llmjobs_worker.body_rules import find_limit, is_continuable, is_streamable, is_text_only
from llmjobs_worker.outlet import NO_STOPS, StopRule, parse_stop_rule

COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"


class EngineKind(StrEnum):
    """What an engine understands beyond OpenAI's protocol."""

    VLLM = "vllm"
    """Gives token ids, takes them as a prompt, and continues a final assistant message."""
    LLAMACPP = "llamacpp"
    """Continues a final assistant message as it is, and counts tokens as it goes."""
    OPENAI = "openai"
    """Nothing more; refuses fields it does not know."""


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """What is known of the engine behind this worker."""

    kind: EngineKind = EngineKind.OPENAI
    max_model_len: int | None = None
    """Tokens of prompt and answer together; None if it did not say."""


class Mode(StrEnum):
    """How a request relates to what was generated before."""

    FRESH = "fresh"
    TOKENS = "tokens"
    TEXT = "text"
    RESTART = "restart"
    """From the beginning; what watchers have seen is void."""
    FINISHED = "finished"
    """Nothing is left to generate: the budget was used up before."""


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One HTTP request to the engine."""

    mode: Mode
    path: str
    body: dict[str, Any]
    before: Before
    stream: bool = True
    exact: bool = False
    """Whether the token ids of the answer may be kept for a continuation."""
    stop: StopRule = NO_STOPS
    """The stop strings that are looked for here."""
    tells_ids: bool = False
    """Whether the client wants the token ids in the answer (vLLM's ``return_token_ids``)."""


_CHAT_ONLY_FIELDS = frozenset(
    {
        "messages", "max_completion_tokens", "tools", "tool_choice", "parallel_tool_calls",
        "functions", "function_call", "response_format", "chat_template", "chat_template_kwargs",
        "add_generation_prompt", "continue_final_message", "documents", "reasoning_effort",
        "include_reasoning", "modalities", "audio", "metadata", "store", "service_tier",
        "thinking_token_budget", "media_io_kwargs", "mm_processor_kwargs", "logprobs",
        "top_logprobs", "verbosity", "web_search_options", "add_special_tokens",
    }
)  # fmt: skip


def plan_request(claim: Claim, traits: EngineTraits) -> RequestPlan:
    """Return the request that generates what is missing of *claim*'s answer.

    Raises msgspec.DecodeError or UnicodeDecodeError if the stored body is no JSON object.
    """
    body = msgspec.json.decode(claim.body, type=dict[str, Any])
    body.setdefault("model", claim.model)
    if claim.endpoint == EMBEDDINGS:
        return RequestPlan(Mode.FRESH, claim.endpoint, body, Before(), stream=False)
    if not is_streamable(body):
        body.pop("stream", None)
        body.pop("stream_options", None)
        return RequestPlan(Mode.FRESH, claim.endpoint, body, Before(), stream=False)
    if not (claim.text or claim.tokens):
        before = Before(regenerated=claim.regenerated)
        return _plan_whole(claim, body, traits, Mode.FRESH, before)
    if claim.recovery is Recovery.RESUME and is_continuable(body) and not claim.is_partial:
        plan = _plan_rest(claim, body, traits)
        if plan is not None:
            return plan
    restarted = Before(regenerated=claim.regenerated + claim.tokens)
    return _plan_whole(claim, body, traits, Mode.RESTART, restarted)


def _plan_whole(
    claim: Claim, body: dict[str, Any], traits: EngineTraits, mode: Mode, before: Before
) -> RequestPlan:
    exact = traits.kind is EngineKind.VLLM and is_continuable(body)
    return RequestPlan(
        mode,
        claim.endpoint,
        _with_stream(body, traits, exact=exact),
        before,
        exact=exact,
        stop=parse_stop_rule(body) if is_continuable(body) else NO_STOPS,
        tells_ids=_tells_ids(body, traits),
    )


def _tells_ids(body: dict[str, Any], traits: EngineTraits) -> bool:
    return traits.kind is EngineKind.VLLM and body.get("return_token_ids") is True


def _plan_rest(claim: Claim, body: dict[str, Any], traits: EngineTraits) -> RequestPlan | None:
    """Return a request for the rest of the answer; None if the engine can't give it."""
    limit = find_limit(claim.endpoint, body)
    left = None if limit is None else limit - claim.tokens
    if left is not None and left <= 0:
        return _plan_nothing(claim, body, traits)
    if traits.kind is EngineKind.VLLM:
        if not claim.token_ids:
            # Its first worker did not keep them: the text is not all that was generated.
            return None
        if _is_exactly_continuable(claim, body):
            return _plan_from_ids(claim, body, traits, left)
        if _tells_ids(body, traits):
            return None  # ids from before and after the cut would belong to two tokenisations
    return _plan_from_text(claim, body, traits, left)


def _plan_from_text(
    claim: Claim, body: dict[str, Any], traits: EngineTraits, left: int | None
) -> RequestPlan | None:
    rest = dict(body)
    if claim.endpoint == CHAT:
        messages = _build_messages(body, claim.text, traits)
        if messages is None:
            return None
        rest["messages"] = messages
        if traits.kind is EngineKind.VLLM:
            rest |= {"add_generation_prompt": False, "continue_final_message": True}
    else:
        prompt = body.get("prompt")
        prompt = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
        if not isinstance(prompt, str):
            return None
        rest["prompt"] = prompt + claim.text
    _set_limits(claim, rest, left)
    # The ids of the part before belong to another tokenisation than those to come.
    rest = _with_stream(rest, traits, exact=False)
    before = _build_before(claim, tells_ids=False)
    return RequestPlan(Mode.TEXT, claim.endpoint, rest, before, stop=parse_stop_rule(body))


def _build_before(claim: Claim, *, tells_ids: bool) -> Before:
    return Before(
        claim.text,
        claim.tokens,
        in_prompt=True,
        prompt_tokens=len(claim.prompt_token_ids) or None,
        regenerated=claim.regenerated,
        token_ids=claim.token_ids if tells_ids else (),
        prompt_token_ids=claim.prompt_token_ids if tells_ids else (),
    )


def _is_exactly_continuable(claim: Claim, body: dict[str, Any]) -> bool:
    return (
        bool(claim.prompt_token_ids) and len(claim.token_ids) == claim.tokens and is_text_only(body)
    )


def _plan_from_ids(
    claim: Claim, body: dict[str, Any], traits: EngineTraits, left: int | None
) -> RequestPlan:
    prompt = [*claim.prompt_token_ids, *claim.token_ids]
    if left is None and traits.max_model_len is not None:
        left = traits.max_model_len - len(prompt)
        if left <= 0:
            return _plan_nothing(claim, body, traits)
    is_chat = claim.endpoint == CHAT
    rest = {k: v for k, v in body.items() if not (is_chat and k in _CHAT_ONLY_FIELDS)}
    rest["prompt"] = prompt
    _set_limits(claim, rest, left)
    rest["max_tokens"] = left
    tells_ids = _tells_ids(body, traits)
    return RequestPlan(
        Mode.TOKENS,
        COMPLETIONS,
        _with_stream(rest, traits, exact=True),
        _build_before(claim, tells_ids=tells_ids),
        exact=True,
        stop=parse_stop_rule(body),
        tells_ids=tells_ids,
    )


def _plan_nothing(claim: Claim, body: dict[str, Any], traits: EngineTraits) -> RequestPlan:
    tells_ids = _tells_ids(body, traits)
    before = _build_before(claim, tells_ids=tells_ids)
    return RequestPlan(Mode.FINISHED, claim.endpoint, {}, before, stream=False, tells_ids=tells_ids)


def _set_limits(claim: Claim, rest: dict[str, Any], left: int | None) -> None:
    if left is not None:
        given = [name for name in ("max_completion_tokens", "max_tokens") if name in rest]
        rest |= dict.fromkeys(given or ["max_tokens"], left)
    if isinstance(least := rest.get("min_tokens"), int):
        rest["min_tokens"] = max(0, least - claim.tokens)


def _build_messages(
    body: dict[str, Any], text: str, traits: EngineTraits
) -> list[dict[str, Any]] | None:
    """Return the conversation with *text* as its open end; None if the engine can't take that."""
    messages = body.get("messages")
    if traits.kind is EngineKind.OPENAI or not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    is_open = (
        isinstance(last, dict)
        and last.get("role") == "assistant"
        and (traits.kind is EngineKind.LLAMACPP or bool(body.get("continue_final_message")))
    )
    if not is_open:
        return [*messages, {"role": "assistant", "content": text}]
    if not isinstance(last.get("content"), str):
        return None
    return [*messages[:-1], {**last, "content": last["content"] + text}]


def _with_stream(body: dict[str, Any], traits: EngineTraits, *, exact: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"include_usage": True}
    asked: dict[str, Any] = {"stream": True, "stream_options": options}
    if traits.kind is EngineKind.VLLM:
        options["continuous_usage_stats"] = True
        if exact:
            asked["return_token_ids"] = True
    elif traits.kind is EngineKind.LLAMACPP:
        asked["timings_per_token"] = True
    is_counted = traits.kind is not EngineKind.OPENAI
    if is_counted and is_continuable(body) and parse_stop_rule(body).strings:
        # Looked for here: an engine that knew them would hold text back, and the count of tokens,
        # or their ids, not match the text. It needs an engine that tells its counts all along.
        body = {name: value for name, value in body.items() if name != "stop"}
    return body | asked
