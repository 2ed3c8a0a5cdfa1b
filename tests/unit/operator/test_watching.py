"""Kopf as the operator runs it."""

import asyncio
import getpass

import kopf
import pytest

from llmjobs_operator.watching import watch


async def test_a_user_that_the_container_has_no_name_for_can_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = asyncio.Event()
    ran = []

    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    async def operator(**options: object) -> None:
        # As Kopf's own does.
        ran.append(options.get("identity") or getpass.getuser())
        stop.set()

    monkeypatch.setattr(getpass, "getuser", no_name)
    monkeypatch.setattr(kopf, "operator", operator)
    await asyncio.wait_for(watch(lambda *_: None, (), stop, identity="operator-1"), 5)
    assert ran == ["operator-1"]
