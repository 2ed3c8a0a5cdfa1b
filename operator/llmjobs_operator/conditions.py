"""Conditions that keep their transition time while they do not change. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MESSAGE_MAX = 1024


@dataclass(frozen=True, slots=True)
class Fact:
    """What is so now, of one condition type."""

    type: str
    holds: bool
    reason: str
    message: str = ""


def build_conditions(
    before: Sequence[Mapping[str, Any]], facts: Sequence[Fact], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """Return conditions for *facts*, in their order; *now* is RFC 3339."""
    last = {item["type"]: item for item in before}
    conditions = []
    for fact in facts:
        status = "True" if fact.holds else "False"
        old = last.get(fact.type)
        same = old is not None and old.get("status") == status
        conditions.append(
            {
                "type": fact.type,
                "status": status,
                "reason": fact.reason,
                "message": fact.message[:MESSAGE_MAX],
                "lastTransitionTime": old["lastTransitionTime"] if old and same else now,
                "observedGeneration": generation,
            }
        )
    return conditions


def is_true(status: Mapping[str, Any], kind: str) -> bool:
    """Return whether the condition *kind* of a status holds."""
    return any(
        item.get("type") == kind and item.get("status") == "True"
        for item in status.get("conditions") or []
    )
