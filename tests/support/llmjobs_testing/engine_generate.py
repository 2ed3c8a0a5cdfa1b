"""What the scripted engine generates for one request, and how vLLM would write it down.

Source: vLLM's ``entrypoints/openai`` protocols: chat sends ``prompt_token_ids`` on the first chunk,
completions on the first choice; every choice carries the ``token_ids`` of its text.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmjobs_testing.engine_script import Script
from llmjobs_testing.engine_text import (
    BROKEN,
    EOS_ID,
    FIRST_GENERATED_ID,
    build_prompt_ids,
    find_generated_text,
    is_inside_character,
    parse_position_of_ids,
    parse_position_of_text,
    token_text,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token."""

    index: int
    text: str
    token_id: int = EOS_ID
    finish_reason: str | None = None
    stop_reason: str | None = None
    fault: str = ""
    """``fail`` or ``disconnect`` instead of a token."""


@dataclass(slots=True)
class Generation:
    """One request's answer."""

    chat: bool
    model: str
    script: Script
    prompt_ids: list[int]
    start: int
    """Tokens generated before, by the request that this one continues."""
    rest: str
    """What is left to say of a token that the prompt cut in two."""
    limit: int | None
    """How many tokens may be generated; None for no limit."""
    choices: int
    seed: int | None
    stop: Sequence[str]
    stop_is_included: bool
    min_tokens: int
    """No stop string is looked for before so many tokens."""
    stream: bool
    usage_in_every_chunk: bool
    usage_at_end: bool
    token_ids: bool
    timings: bool
    """Whether each chunk has llama.cpp's counts."""
    logprobs: bool
    made: int = 0
    id: str = field(default_factory=lambda: f"cmpl-{time.monotonic_ns()}")

    def steps(self) -> Iterator[Step]:
        """Yield the tokens; the last one has a finish reason."""
        longest = max((len(stop) for stop in self.stop), default=1)
        held = 0 if self.stop_is_included else longest - 1
        text, sent = "", 0
        for index in range(self.start, self.script.tokens + 1):
            self.made += 1
            is_end = index == self.script.tokens
            old = len(text)
            text += "" if is_end else self._piece(index)
            stop, end = self._find_stop(text, old)
            reason = "stop" if is_end or stop else None
            if reason is None and self.limit is not None and self.made >= self.limit:
                reason = "length"
            upto = len(text) if reason else max(sent, len(text) - held)
            if stop:
                upto = end if self.stop_is_included else end - len(stop)
            yield Step(
                index,
                text[sent:upto],
                EOS_ID if is_end else FIRST_GENERATED_ID + index,
                reason,
                stop,
            )
            if reason:
                return
            sent = upto

    def _find_stop(self, text: str, old: int) -> tuple[str | None, int]:
        """Return the stop string that ends first behind *old* characters, and where."""
        if self.made <= self.min_tokens:
            return None, 0
        found = [
            (at + len(stop), i, stop)
            for i, stop in enumerate(self.stop)
            if (at := text.find(stop, max(0, old - len(stop) + 1))) >= 0
        ]
        end, _, stop = min(found, default=(0, 0, None))
        return stop, end

    def _piece(self, index: int) -> str:
        if index > self.start:
            return token_text(index, self.seed)
        if is_inside_character(self.start):
            return BROKEN
        return self.rest or token_text(index, self.seed)

    # -- chunks -------------------------------------------------------------------------------

    def build_head(self) -> list[dict[str, Any]]:
        """Return what comes before the first token."""
        if not self.chat:
            return []
        head = self._chunk([self._choice(i, {"role": "assistant", "content": ""}) for i in self._n])
        if self.token_ids:
            head["prompt_token_ids"] = self.prompt_ids
        return [head]

    def build_chunks(self, step: Step) -> list[dict[str, Any]]:
        """Return the chunks of one token, one a choice."""
        chunks = []
        for i in self._n:
            choice = self._choice(i, self._delta(step))
            choice["finish_reason"] = self._finish_reason(step)
            choice["stop_reason"] = step.stop_reason
            if self.token_ids:
                choice["token_ids"] = [step.token_id]
                if not self.chat and step.index == self.start:
                    choice["prompt_token_ids"] = self.prompt_ids
            if self.logprobs:
                choice["logprobs"] = self._logprobs([step])
            chunks.append(self._chunk([choice], usage=self.usage_in_every_chunk))
        return chunks

    def build_tail(self) -> list[dict[str, Any]]:
        """Return what comes after the last token."""
        return [self._chunk([], usage=True)] if self.usage_at_end else []

    def build_whole(self, steps: Sequence[Step]) -> dict[str, Any]:
        """Return the answer to a request that did not ask for a stream."""
        text = "".join(step.text for step in steps)
        choices = []
        for i in self._n:
            choice = self._choice(i, {"role": "assistant", "content": text})
            if self.chat:
                choice["message"] = choice.pop("delta")
            choice["finish_reason"] = self._finish_reason(steps[-1])
            choice["stop_reason"] = steps[-1].stop_reason
            choice["logprobs"] = self._logprobs(steps) if self.logprobs else None
            choices.append(choice)
        whole = self._chunk(choices, usage=True)
        whole["object"] = "chat.completion" if self.chat else "text_completion"
        return whole

    @property
    def _n(self) -> range:
        return range(self.choices)

    def _finish_reason(self, step: Step) -> str | None:
        is_tool_call = self.script.tool and step.finish_reason == "stop"
        return "tool_calls" if is_tool_call else step.finish_reason

    def _delta(self, step: Step) -> dict[str, Any]:
        if step.index < self.script.reasoning:
            return {"reasoning": step.text}
        if not self.script.tool:
            return {"content": step.text}
        if step.index == self.start:
            function = {"name": self.script.tool, "arguments": ""}
            call = {"index": 0, "id": "call-1", "type": "function", "function": function}
            return {"tool_calls": [call]}
        if step.index == self.start + 1:
            function = {"arguments": self.script.arguments}
            return {"tool_calls": [{"index": 0, "function": function}]}
        return {}

    def _choice(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        said = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        return {"index": index, **said, "logprobs": None, "finish_reason": None}

    def _logprobs(self, steps: Sequence[Step]) -> dict[str, Any]:
        if self.chat:
            entries = [{"token": s.text, "logprob": -0.5, "top_logprobs": []} for s in steps]
            return {"content": entries}
        return {"tokens": [s.text for s in steps], "token_logprobs": [-0.5 for _ in steps]}

    def _chunk(self, choices: list[dict[str, Any]], *, usage: bool = False) -> dict[str, Any]:
        chunk: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk" if self.chat else "text_completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": choices,
        }
        if self.timings and self.made:
            prompt = len(self.prompt_ids)
            chunk["timings"] = {"cache_n": 1, "prompt_n": prompt - 1, "predicted_n": self.made}
        if usage:
            prompt, completion = len(self.prompt_ids), self.made * self.choices
            chunk["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            }
        return chunk


def build_generation(path: str, body: dict[str, Any], script: Script, *, kind: str) -> Generation:
    """Return the answer to *body*; raises ValueError for what a strict engine refuses."""
    chat = path.endswith("/chat/completions")
    exact = kind == "vllm"
    if kind == "external" and (extra := {"return_token_ids", "continue_final_message"} & {*body}):
        raise ValueError(f"Unrecognized request arguments: {', '.join(sorted(extra))}")
    seed = body.get("seed")
    prompt_ids, start, rest = (_place_chat if chat else _place_completion)(body, seed, kind)
    options = body.get("stream_options") or {}
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is None and not chat and "max_tokens" not in body:
        limit = 16  # OpenAI's and vLLM's default for completions
    return Generation(
        chat=chat,
        model=str(body.get("model", "")).partition("@")[0],
        script=script,
        prompt_ids=prompt_ids + [FIRST_GENERATED_ID + i for i in range(start)],
        start=start - bool(rest),
        rest=rest,
        limit=limit,
        choices=body.get("n") or 1,
        seed=seed,
        stop=[body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or [],
        stop_is_included=exact and bool(body.get("include_stop_str_in_output")),
        min_tokens=(body.get("min_tokens") or 0) if exact else 0,
        stream=bool(body.get("stream")),
        usage_in_every_chunk=exact and bool(options.get("continuous_usage_stats")),
        usage_at_end=bool(options.get("include_usage")),
        timings=kind == "llamacpp" and bool(body.get("timings_per_token")),
        token_ids=exact and bool(body.get("return_token_ids")),
        logprobs=bool(body.get("logprobs")),
    )


def _place_chat(body: dict[str, Any], seed: int | None, kind: str) -> tuple[list[int], int, str]:
    messages = body["messages"]
    last = messages[-1]
    continues = last["role"] == "assistant" and (
        bool(body.get("continue_final_message")) or kind == "llamacpp"
    )
    before = messages[:-1] if continues else messages
    prompt_ids = build_prompt_ids(" ".join(f"{m['role']} {m['content']}" for m in before))
    count, rest = parse_position_of_text(last["content"], seed) if continues else (0, "")
    return prompt_ids, count, rest


def _place_completion(
    body: dict[str, Any], seed: int | None, kind: str
) -> tuple[list[int], int, str]:
    prompt = body["prompt"]
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
        if kind != "vllm":
            raise ValueError("this engine takes no token ids")
        prompt_ids, count = parse_position_of_ids(prompt)
        return prompt_ids, count, ""
    text = prompt if isinstance(prompt, str) else " ".join(prompt)
    generated = find_generated_text(text, seed)
    count, rest = parse_position_of_text(generated, seed)
    return build_prompt_ids(text.removesuffix(generated)), count, rest
