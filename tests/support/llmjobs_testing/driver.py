"""Plays the workers of one pool by hand: a test says what is claimed, generated and ended."""

import itertools
import json
from typing import Any

import msgspec
import redis
import redis.asyncio

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.jobs import Claim, JobError, JobRecord, NewJob, ProgressUpdate, Usage
from llmjobs_core.names import ChunkRef, PoolKey
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, LeaseStore, StoreOptions, build_sync_client

CLAIM_TIMEOUT_S = 20
_tokens = itertools.count()
_workers = itertools.count(1)


class Driver:
    """A pool, and one worker of it that does as it is told."""

    def __init__(self, url: str, pool: PoolKey, models: tuple[str, ...] = ("m",)) -> None:
        options = StoreOptions(url)
        self.pool = pool
        self.worker = f"driver-{next(_workers)}"
        self.models = models
        self.store = JobStore.connect(options)
        self._sync = build_sync_client(options)
        self._leases = LeaseStore(
            self._sync,
            prefix=options.prefix,
            template=build_message_template(build_celery_app(url)),
        )
        self._raw = redis.asyncio.Redis.from_url(url, socket_timeout=CLAIM_TIMEOUT_S + 5)
        self._sent: dict[str, int] = {}

    async def publish(self, *, slots: int = 4, **changes: Any) -> None:
        """Publish the pool and, with *slots*, let the worker live."""
        fields: dict[str, Any] = {"key": self.pool, "models": self.models}
        await self.store.put_pool(PoolRegistration(**(fields | changes)))
        if slots:
            self.beat(slots)

    def beat(self, slots: int = 4, held: tuple[Claim, ...] = ()) -> None:
        """Renew the worker's place and the leases of *held*."""
        self._leases.renew(self.worker, self.pool, slots, [(c.ref, c.fence) for c in held])

    @property
    def sync(self) -> redis.Redis:
        """A client that does not await, to look around with."""
        return self._sync

    async def take_chunk(self) -> ChunkRef:
        """Wait for the pool's next message; returns what it is for."""
        found: Any = await self._raw.brpop([self.pool.queue], timeout=CLAIM_TIMEOUT_S)
        assert found, "no message came"
        return ChunkRef.parse(json.loads(found[1])["headers"]["id"])

    async def claim(self, limit: int = 8) -> tuple[Claim, ...]:
        """Wait for the pool's next message and claim what it is for."""
        chunk = await self.take_chunk()
        token = f"driver-{next(_tokens)}"
        return await self.store.claim(chunk, worker=self.worker, token=token, limit=limit)

    async def claim_one(self) -> Claim:
        """Claim one request."""
        (claim,) = await self.claim(1)
        return claim

    async def say(self, claim: Claim, text: str) -> None:
        """Let *claim* generate *text*, a token for each word."""
        key = _key(claim)
        at = self._sent.get(key, len(claim.text.encode()))
        update = ProgressUpdate(
            ref=claim.ref, fence=claim.fence, text=text, tokens=len(text.split()) or 1, at=at
        )
        assert not await self.store.progress([update])
        self._sent[key] = at + len(text.encode())

    def forget_sent(self, claim: Claim) -> None:
        """The text of *claim* was voided: it begins anew."""
        self._sent[_key(claim)] = 0

    async def submit_again(self, record: JobRecord) -> None:
        """Submit a job of the same id, as the operator does for an LLMJob that the store lost."""
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        await self.store.submit(
            NewJob(id=record.id, pool=record.pool, model=record.model, body=body)
        )

    def forget(self, claim: Claim) -> None:
        """Begin *claim* anew, whatever was said for it before."""
        self._sent.pop(_key(claim), None)

    async def complete(self, claim: Claim, text: str = "") -> None:
        """End *claim* well; *text* is the content of its result."""
        body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        done = await self.store.complete(
            claim.ref,
            claim.fence,
            status_code=200,
            body=msgspec.json.encode(body),
            usage=Usage(3, 5),
        )
        assert done

    async def fail(self, claim: Claim, *, retry_in_ms: int | None = None) -> None:
        """Let an attempt of *claim* fail."""
        error = {"error": {"message": "no such thing", "type": "invalid_request_error"}}
        assert await self.store.fail(
            claim.ref,
            claim.fence,
            JobError("http_400", "no such thing"),
            status_code=400,
            body=msgspec.json.encode(error),
            retry_in_ms=retry_in_ms,
        )

    async def answer(self, *words: str) -> None:
        """Run the next request from claim to end."""
        claim = await self.claim_one()
        for word in words:
            await self.say(claim, word)
        await self.complete(claim, "".join(words))

    async def close(self) -> None:
        """Close the connections."""
        await self.store.close()
        await self._raw.aclose()
        self._sync.close()


def _key(claim: Claim) -> str:
    return f"{claim.ref}@{claim.fence}"
