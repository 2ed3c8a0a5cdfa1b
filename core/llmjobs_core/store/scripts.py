"""The store's Lua scripts: loaded from the package, run by their SHA.

Each script is the shared library (``lua/lib``) followed by its own file, so that one source of
truth for keys and transitions serves all of them. Its first line has its flags: what frees memory
or finishes work may run when Redis is full; submitting may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from llmjobs_core.errors import LLMJobsError
from llmjobs_core.store.connection import translated_errors

Arg = str | bytes | int | float


class ScriptName(StrEnum):
    """One atomic step each."""

    SUBMIT = "submit"
    APPEND = "append"
    SEAL = "seal"
    DISPATCH = "dispatch"
    CLAIM = "claim"
    HAND_ON = "hand_on"
    RENEW = "renew"
    PROGRESS = "progress"
    COMPLETE = "complete"
    FAIL = "fail"
    LOSE = "lose"
    RELEASE = "release"
    CANCEL = "cancel"
    SUSPEND = "suspend"
    RESUME = "resume"
    RECLASSIFY = "reclassify"
    REMOVE = "remove"
    REAP = "reap"
    PUT_POOL = "put_pool"
    POOL_STATS = "pool_stats"
    POSITION = "position"


_LIBRARY = (
    "base", "jobs", "pools", "events", "backlog", "chunks", "units", "losses", "ending", "progress",
    "workers", "clock",
)  # fmt: skip
"""Files of ``lua/lib`` in order: each uses only what stands before it."""

_LAST_NEEDED = {
    ScriptName.APPEND: "jobs",
    ScriptName.DISPATCH: "chunks",
    ScriptName.POOL_STATS: "base",
    ScriptName.POSITION: "base",
    ScriptName.PUT_POOL: "chunks",
    ScriptName.RECLASSIFY: "chunks",
    ScriptName.SEAL: "chunks",
    ScriptName.SUBMIT: "chunks",
}
"""The last file that a script needs, where it does not need all: Redis makes every function of the
library anew for each call, about 25 us for all of them."""

_LEFT = (ReadOnlyError, RedisConnectionError)
"""The server is no primary any more, or closed this connection: then the idle ones lead to the same
place. Without them the next call goes to wherever the address leads by now."""

_MAY_NOT_RUN_WHEN_FULL = {ScriptName.SUBMIT, ScriptName.APPEND}


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and its SHA-1, by which Redis knows it."""

    text: str
    sha: str


@cache
def load_script(name: ScriptName) -> Script:
    """Return the script of *name* with the shared library in front."""
    folder = files("llmjobs_core.store") / "lua"
    flags = "" if name in _MAY_NOT_RUN_WHEN_FULL else " flags=allow-oom"
    last = _LIBRARY.index(_LAST_NEEDED.get(name, _LIBRARY[-1]))
    names = [*(f"lib/{part}" for part in _LIBRARY[: last + 1]), name]
    parts = [(folder / f"{part}.lua").read_text(encoding="utf-8") for part in names]
    text = "\n".join([f"#!lua{flags}", *parts])
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


async def run_script(client: redis.asyncio.Redis, name: ScriptName, args: Sequence[Arg]) -> Any:
    """Run one script; loads it first where the server does not know it."""
    script = load_script(name)
    with translated_errors():
        try:
            return await client.evalsha(script.sha, 0, *args)
        except NoScriptError:
            return await client.eval(script.text, 0, *args)
        except _LEFT:
            await client.connection_pool.disconnect(inuse_connections=False)
            raise


ScriptCall = tuple[ScriptName, Sequence[Arg]]
"""A script and its arguments."""


async def run_scripts(client: redis.asyncio.Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    """Run several scripts in one round trip, each a step of its own; returns what each came to.

    That is a reply, or the error of that script alone. Raises StoreUnavailable where the
    connection broke: each of them may or may not have happened.
    """
    pipe = client.pipeline(transaction=False)
    for name, args in calls:
        pipe.evalsha(load_script(name).sha, 0, *args)
    with translated_errors():
        try:
            replies = await pipe.execute(raise_on_error=False)
        except RedisConnectionError:
            await client.connection_pool.disconnect(inuse_connections=False)
            raise
    return [
        await _look_into(client, name, args, reply) if isinstance(reply, RedisError) else reply
        for (name, args), reply in zip(calls, replies, strict=True)
    ]


async def _look_into(
    client: redis.asyncio.Redis, name: ScriptName, args: Sequence[Arg], error: RedisError
) -> Any:
    """Return what a script comes to that was answered by *error*: a reply, or the store's error."""
    try:
        if isinstance(error, NoScriptError):
            return await run_script(client, name, args)
        with translated_errors():
            raise error
    except LLMJobsError as translated:
        if isinstance(error, ReadOnlyError):
            await client.connection_pool.disconnect(inuse_connections=False)
        return translated


def run_script_sync(client: redis.Redis, name: ScriptName, args: Sequence[Arg]) -> Any:
    """Run one script from a thread."""
    script = load_script(name)
    with translated_errors():
        try:
            return client.evalsha(script.sha, 0, *args)
        except NoScriptError:
            return client.eval(script.text, 0, *args)
        except _LEFT:
            client.connection_pool.disconnect(inuse_connections=False)
            raise
