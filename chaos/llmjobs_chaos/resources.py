"""The client that comes by Kubernetes: it applies LLMJobs, and reads what their status says.

kubectl is asked again while the API server is away, as people and controllers do.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from llmjobs_chaos.cluster import MODEL, POOL, Cluster
from llmjobs_chaos.ledger import Asked
from llmjobs_chaos.load import CHAT, build_body
from llmjobs_testing.kubectl import Kubectl, KubectlError
from llmjobs_testing.operators import build_job, build_pool, install
from llmjobs_testing.waiting import eventually_async

_AGAIN_S = 0.5
_LIMIT_S = 120.0


class Resources:
    """LLMJobs in the pool's namespace."""

    def __init__(self, cluster: Cluster, *, backoff_limit: int = 3) -> None:
        assert cluster.plane is not None, "LLMJobs need a control plane"
        self._cluster = cluster
        self._plane = cluster.plane
        self._kubectl = Kubectl(cluster.plane, POOL.namespace)
        self._backoff_limit = backoff_limit

    async def prepare(self) -> None:
        """Install everything, and the pool: an engine elsewhere, and no pods of its own."""
        await asyncio.to_thread(install, self._plane)
        await asyncio.to_thread(self._kubectl.create_namespace)
        pool = build_pool(
            POOL.name,
            models=[MODEL],
            concurrency=8,
            scaling={"minReplicas": 0, "maxReplicas": 4, "paused": True},
        )
        await asyncio.to_thread(self._kubectl.apply, pool)

    async def wait_pool(self) -> None:
        """Return when an operator has published the pool."""

        async def is_published() -> bool:
            return POOL in await self._cluster.store.list_pools()

        await eventually_async(is_published, what="the pool in the store", timeout_s=60)

    async def submit(self, jobs: Sequence[Asked]) -> None:
        """Apply an LLMJob for each, until the API server has taken them."""
        await self._insist("apply", "-f", "-", stdin=_build_list(jobs, self._backoff_limit))

    async def fetch_statuses(self) -> dict[str, dict[str, Any]]:
        """Return the status of every LLMJob by its name."""
        found = json.loads(await self._insist("get", "lj", "-o", "json"))
        return {item["metadata"]["name"]: item.get("status") or {} for item in found["items"]}

    async def wait_all(self, jobs: Sequence[Asked], field: str, *, timeout_s: float) -> float:
        """Return the seconds until the status of all *jobs* has *field*."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        async def have_it() -> bool:
            statuses = await self.fetch_statuses()
            return all(statuses.get(asked.key, {}).get(field) for asked in jobs)

        what = f"{field} of {len(jobs)} LLMJobs"
        await eventually_async(have_it, what=what, timeout_s=timeout_s)
        return loop.time() - began_s

    async def note_ids(self, jobs: Sequence[Asked]) -> dict[str, str]:
        """Write into the ledger which job each LLMJob says it is; returns their phases."""
        statuses = await self.fetch_statuses()
        for asked in jobs:
            job_id = statuses.get(asked.key, {}).get("jobId")
            asked.ids = {job_id} if job_id else set()
        return {name: str(status.get("phase")) for name, status in statuses.items()}

    async def _insist(self, *args: str, stdin: str = "") -> str:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _LIMIT_S
        while True:
            try:
                return await asyncio.to_thread(self._kubectl, *args, stdin=stdin)
            except KubectlError:
                if loop.time() > until_s:
                    raise
            await asyncio.sleep(_AGAIN_S)


def _build_list(jobs: Sequence[Asked], backoff_limit: int) -> str:
    items = [
        build_job(
            asked.key,
            model=MODEL,
            backoffLimit=backoff_limit,
            request={"endpoint": CHAT, "body": build_body(asked.requests[0])},
        )
        for asked in jobs
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
