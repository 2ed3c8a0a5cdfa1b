"""What a request's body says about its answer: whether it streams, continues, and how long it is.

Pure, and about the client's body alone; what the engine can do is `resume`'s business.
"""

from typing import Any

from llmjobs_worker.assemble import CHAT

DEFAULT_COMPLETION_TOKENS = 16
"""Of ``/v1/completions`` when ``max_tokens`` is absent, at OpenAI and in vLLM."""


_RESTART_FIELDS = frozenset(
    {
        "tools", "functions", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
        "guided_grammar", "grammar", "json_schema", "top_logprobs", "prompt_logprobs",
        "echo", "suffix", "audio", "use_beam_search", "prediction", "truncate_prompt_tokens",
        "prompt_embeds",
    }
)  # fmt: skip
"""With any of these set, the rest of an answer can't be asked for alone."""


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
        and _count_prompts(body.get("prompt")) <= 1
        and not any(body.get(name) for name in _RESTART_FIELDS)
    )


def _count_prompts(prompt: Any) -> int:
    """Return how many answers a completion gives: one a prompt; token ids are one prompt."""
    is_list = isinstance(prompt, list) and not any(isinstance(item, int) for item in prompt)
    return len(prompt) if is_list else 1


def is_text_only(body: dict[str, Any]) -> bool:
    """Whether the messages are text only, so that their token ids are all there is to them."""
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else ()
        if any(not isinstance(part, dict) or part.get("type") != "text" for part in parts):
            return False
    return True


def find_limit(endpoint: str, body: dict[str, Any]) -> int | None:
    """Return how many tokens the whole answer may have; None for no limit of the client's."""
    limit = body.get("max_tokens")
    if endpoint == CHAT:
        limit = body.get("max_completion_tokens") or limit
    elif "max_tokens" not in body:
        limit = DEFAULT_COMPLETION_TOKENS
    return limit if isinstance(limit, int) else None
