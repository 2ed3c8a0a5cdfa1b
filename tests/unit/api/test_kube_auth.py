"""What the gateway asks the API server about a caller."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from llmjobs_api.cluster import Cluster


@pytest.fixture
def reviews(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The reviews that were asked for; a token has one scope."""
    asked: list[Mapping[str, Any]] = []

    async def review(_: Cluster, version: str, kind: str, spec: Mapping[str, Any]) -> Any:
        asked.append(spec)
        user = {"username": "u", "groups": ["g"], "extra": {"scopes.example.com": ["user:info"]}}
        return {"authenticated": True, "user": user, "allowed": False}

    monkeypatch.setattr(Cluster, "_review", review)
    return asked


async def test_what_limits_a_token_is_part_of_the_question_what_it_may_do(
    reviews: Sequence[Mapping[str, Any]],
) -> None:
    cluster = object.__new__(Cluster)
    owner = await cluster.review_token("t", ())
    assert owner is not None
    await cluster.review_access(owner.user, owner.uid, owner.groups, owner.extra, {"verb": "get"})
    assert reviews[-1]["extra"] == {"scopes.example.com": ["user:info"]}
