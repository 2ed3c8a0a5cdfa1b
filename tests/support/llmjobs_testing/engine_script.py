"""What the scripted engine does with a request, and what it remembers of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec


class Script(msgspec.Struct, kw_only=True, frozen=True):
    """Knobs of one request: from the body's ``script``, the model's name, or the engine's default.

    In a model's name they follow an at sign: ``scripted@rate=50,fail_at=10,times=1``.
    Positions are absolute token indices, so a continuation does not meet a passed fault again.
    """

    tokens: int = 16
    """Where the text ends by itself (finish reason ``stop``)."""
    rate: float = 0.0
    """Tokens a second of each stream; 0 is as fast as they go."""
    delay_s: float = 0.0
    """Before the first token (a long prefill)."""
    status: int = 0
    """Answer with this HTTP status instead."""
    retry_after: str = ""
    fail_at: int = -1
    """Send an error event instead of this token."""
    stall_at: int = -1
    """Send nothing from this token on, until `ScriptedEngine.resume` or the client leaves."""
    disconnect_at: int = -1
    """Cut the connection instead of this token."""
    die_at: int = -1
    """Kill the whole engine process instead of this token."""
    times: int = 1_000_000
    """How many requests of the same ``key`` meet the faults above."""
    key: str = ""
    reasoning: int = 0
    """This many tokens come as reasoning first (chat)."""
    tool: str = ""
    """Call this tool with ``arguments`` instead of answering with text (chat)."""
    arguments: str = "{}"


def build_script(default: Script, model: str, body: dict[str, Any]) -> Script:
    """Return the request's script; raises msgspec.ValidationError for a wrong knob."""
    _, _, suffix = model.partition("@")
    from_model = dict(item.split("=", 1) for item in suffix.split(",") if item)
    merged = {**msgspec.to_builtins(default), **from_model, **body.get("script", {})}
    return msgspec.convert(merged, Script, strict=False)


@dataclass(slots=True)
class Seen:
    """One request as the engine saw it."""

    path: str
    model: str
    body: dict[str, Any]
    opened_s: float = field(default_factory=time.time)
    closed_s: float | None = None
    """When it ended, for whatever reason; None while it is open."""
    outcome: str = "open"
    """``done``, ``aborted`` (the client closed it), ``failed`` (scripted)."""
    start: int = 0
    """The first token generated: > 0 for a continuation."""
    sent: int = 0
    """Tokens generated for it."""
    on_close: Callable[["Seen"], None] | None = None

    def close(self, outcome: str) -> None:
        """Note the end; the first one counts."""
        if self.closed_s is None:
            self.closed_s, self.outcome = time.time(), outcome
            if self.on_close is not None:
                self.on_close(self)

    def summary(self) -> dict[str, Any]:
        """Return what a test in another process may want to know."""
        return {
            "path": self.path,
            "user": self.body.get("user", ""),
            "opened_s": self.opened_s,
            "closed_s": self.closed_s,
            "outcome": self.outcome,
            "start": self.start,
            "sent": self.sent,
        }
