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

COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
DEFAULT_COMPLETION_TOKENS = 16
"""Of ``/v1/completions`` when ``max_tokens`` is absent, at OpenAI and in vLLM."""


class EngineKind(StrEnum):
    """What an engine understands beyond OpenAI's protocol."""

    VLLM = "vllm"
    """Gives token ids, takes them as a prompt, and continues a final assistant message."""
    LLAMACPP = "llamacpp"
    """Continues a final assistant message as it is."""
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


_RESTART_FIELDS = frozenset(
    {
        "tools", "functions", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
        "guided_grammar", "grammar", "json_schema", "top_logprobs", "prompt_logprobs",
        "echo", "suffix", "audio", "use_beam_search", "prediction", "truncate_prompt_tokens",
    }
)  # fmt: skip
"""With any of these set, the rest of an answer can't be asked for alone."""

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

    Raises msgspec.DecodeError if the stored body is no JSON object.
    """
    body = msgspec.json.decode(claim.body, type=dict[str, Any])
    body.setdefault("model", claim.model)
    if claim.endpoint == EMBEDDINGS:
        return RequestPlan(Mode.FRESH, claim.endpoint, body, Before(), stream=False)
    if not is_streamable(body):
        body.pop("stream", None)
        body.pop("stream_options", None)
        return RequestPlan(Mode.FRESH, claim.endpoint, body, Before(), stream=False)
    if not claim.text and not claim.token_ids:
        return _plan_whole(claim, body, traits, Mode.FRESH, Before())
    if claim.recovery is Recovery.RESUME and is_continuable(body):
        plan = _plan_rest(claim, body, traits)
        if plan is not None:
            return plan
    restarted = Before(regenerated=claim.tokens)
    return _plan_whole(claim, body, traits, Mode.RESTART, restarted)


def is_streamable(body: dict[str, Any]) -> bool:
    """Whether engines stream the answer to this request."""
    return not body.get("use_beam_search") and (body.get("best_of") or 1) == 1


def is_continuable(body: dict[str, Any]) -> bool:
    """Whether a part of the answer can be generated alone."""
    logprobs, response_format = body.get("logprobs"), body.get("response_format")
    is_plain = response_format is None or (
        isinstance(response_format, dict) and response_format.get("type") == "text"
    )
    return (
        (body.get("n") or 1) == 1
        and (logprobs is None or logprobs is False)
        and is_plain
        and not any(body.get(name) for name in _RESTART_FIELDS)
    )


def _plan_whole(
    claim: Claim, body: dict[str, Any], traits: EngineTraits, mode: Mode, before: Before
) -> RequestPlan:
    exact = traits.kind is EngineKind.VLLM and is_continuable(body)
    return RequestPlan(
        mode, claim.endpoint, _with_stream(body, traits, exact=exact), before, exact=exact
    )


def _plan_rest(claim: Claim, body: dict[str, Any], traits: EngineTraits) -> RequestPlan | None:
    """Return a request for the rest of the answer; None if the engine can't give it."""
    limit = _find_limit(claim.endpoint, body)
    left = None if limit is None else limit - claim.tokens
    if left is not None and left <= 0:
        return _plan_nothing(claim)
    if traits.kind is EngineKind.VLLM:
        if not claim.token_ids:
            # Its first worker did not keep them: the text is not all that was generated.
            return None
        if _is_exactly_continuable(claim, body):
            return _plan_from_ids(claim, body, traits, left)
    rest = dict(body)
    if claim.endpoint == CHAT:
        messages = _build_messages(body, claim.text, traits)
        if messages is None:
            return None
        rest["messages"] = messages
        if traits.kind is EngineKind.VLLM:
            rest |= {"add_generation_prompt": False, "continue_final_message": True}
    elif isinstance(prompt := body.get("prompt"), str):
        rest["prompt"] = prompt + claim.text
    else:
        return None
    _set_limits(claim, rest, left)
    before = Before(claim.text, claim.tokens, in_prompt=True)
    # The ids of the part before belong to another tokenisation than those to come.
    return RequestPlan(Mode.TEXT, claim.endpoint, _with_stream(rest, traits, exact=False), before)


def _is_exactly_continuable(claim: Claim, body: dict[str, Any]) -> bool:
    # With stop strings vLLM holds back text, so that ids and delivered text do not match.
    return (
        bool(claim.prompt_token_ids)
        and len(claim.token_ids) == claim.tokens
        and not body.get("stop")
        and _is_text_only(body)
    )


def _is_text_only(body: dict[str, Any]) -> bool:
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else ()
        if any(not isinstance(part, dict) or part.get("type") != "text" for part in parts):
            return False
    return True


def _plan_from_ids(
    claim: Claim, body: dict[str, Any], traits: EngineTraits, left: int | None
) -> RequestPlan:
    prompt = [*claim.prompt_token_ids, *claim.token_ids]
    if left is None and traits.max_model_len is not None:
        left = traits.max_model_len - len(prompt)
        if left <= 0:
            return _plan_nothing(claim)
    is_chat = claim.endpoint == CHAT
    rest = {k: v for k, v in body.items() if not (is_chat and k in _CHAT_ONLY_FIELDS)}
    rest["prompt"] = prompt
    _set_limits(claim, rest, left)
    rest["max_tokens"] = left
    before = Before(
        claim.text, claim.tokens, in_prompt=True, prompt_tokens=len(claim.prompt_token_ids)
    )
    rest = _with_stream(rest, traits, exact=True)
    return RequestPlan(Mode.TOKENS, COMPLETIONS, rest, before, exact=True)


def _plan_nothing(claim: Claim) -> RequestPlan:
    known = len(claim.prompt_token_ids) or None
    before = Before(claim.text, claim.tokens, prompt_tokens=known)
    return RequestPlan(Mode.FINISHED, claim.endpoint, {}, before, stream=False)


def _find_limit(endpoint: str, body: dict[str, Any]) -> int | None:
    """Return how many tokens the whole answer may have; None for no limit of the client's."""
    limit = body.get("max_tokens")
    if endpoint == CHAT:
        limit = body.get("max_completion_tokens") or limit
    elif "max_tokens" not in body:
        limit = DEFAULT_COMPLETION_TOKENS
    return limit if isinstance(limit, int) else None


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
    extra: dict[str, Any] = {}
    if traits.kind is EngineKind.VLLM:
        options["continuous_usage_stats"] = True
        if exact:
            extra["return_token_ids"] = True
    return {**body, "stream": True, "stream_options": options, **extra}
