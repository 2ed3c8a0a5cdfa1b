"""One choice of an answer: its deltas put together, and written as OpenAI does. Pure."""

from dataclasses import dataclass, field
from typing import Any

from llmjobs_worker.chunks import ChunkChoice, Delta, LogProbs


@dataclass(slots=True)
class _ToolCall:
    id: str | None = None
    type: str = "function"
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Choice:
    """What this engine request gave for one choice, so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    tools: dict[int, _ToolCall] = field(default_factory=dict)
    logprobs: LogProbs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] = field(default_factory=list)
    prompt_token_ids: list[int] | None = None

    def take(self, delta: ChunkChoice) -> tuple[str, str, bool]:
        """Add a piece; returns its text, its reasoning, and whether it has more than text."""
        said, thought, is_hidden = delta.text or "", "", False
        if delta.delta is not None:
            said += delta.delta.content or ""
            thought = delta.delta.reasoning or delta.delta.reasoning_content or ""
            is_hidden = self._take_extras(delta.delta) or bool(thought)
        if said:
            self.text.append(said)
        if thought:
            self.reasoning.append(thought)
        if delta.logprobs is not None:
            self.logprobs = _join_logprobs(self.logprobs, delta.logprobs)
        if delta.finish_reason is not None:
            self.finish_reason, self.stop_reason = delta.finish_reason, delta.stop_reason
        if delta.prompt_token_ids is not None:
            self.prompt_token_ids = delta.prompt_token_ids
        if delta.token_ids is not None:
            self.token_ids += delta.token_ids
        return said, thought, is_hidden

    def _take_extras(self, delta: Delta) -> bool:
        if delta.refusal:
            self.refusal.append(delta.refusal)
        for piece in delta.tool_calls or ():
            call = self.tools.setdefault(piece.index, _ToolCall())
            call.id = piece.id or call.id
            call.type = piece.type or call.type
            if piece.function is not None:
                call.name = piece.function.name or call.name
                call.arguments.append(piece.function.arguments or "")
        return bool(delta.refusal or delta.tool_calls)

    def build(self, index: int, text_before: str, *, chat: bool) -> dict[str, Any]:
        """Return the choice as in an answer without streaming; *text_before* comes first."""
        text = text_before + "".join(self.text)
        built: dict[str, Any] = {"index": index, "logprobs": self.logprobs}
        if chat:
            built["message"] = self._build_message(text)
        else:
            built["text"] = text
        built["finish_reason"] = self.finish_reason
        if self.stop_reason is not None:
            built["stop_reason"] = self.stop_reason
        return built

    def _build_message(self, text: str) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not self.tools else None,
            "refusal": "".join(self.refusal) or None,
        }
        if self.reasoning:
            message["reasoning"] = "".join(self.reasoning)
        if self.tools:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": call.type,
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for _, call in sorted(self.tools.items())
            ]
        return message


def _join_logprobs(so_far: LogProbs | None, new: LogProbs) -> LogProbs:
    """Append the lists of *new* to those of *so_far*, member by member."""
    if so_far is None:
        return dict(new)
    for name, values in new.items():
        old = so_far.get(name)
        if old is None:
            so_far[name] = values
        elif values is not None:
            old.extend(values)
    return so_far
