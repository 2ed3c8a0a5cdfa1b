"""Leader election by a Lease that we hold ourselves: of several operators one acts.

Kopf's peering is not that: a crashed leader blocks it for a minute, and equal priorities stop
everybody. A holder that can't renew stops acting before another may take over.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from llmjobs_core.errors import LLMJobsError
from llmjobs_operator.cluster import Cluster, ObjectGone

_log = structlog.get_logger(__name__)

LEASE_S = 8
"""Another may take over when it has not seen the lease renewed for so long."""
RENEW_S = 2.0
WATCH_S = 1.0
"""How often one that waits looks: with LEASE_S it takes over within about 10 s."""
TRY_S = 2.0
"""The longest that one attempt may take."""
GIVE_UP_S = 6.0
"""A holder that could not renew for so long stops acting; below LEASE_S for a slow clock."""


def build_lease(
    name: str, namespace: str, identity: str, *, now: datetime, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the Lease as *identity* would hold it from *now* on."""
    spec = dict((before or {}).get("spec") or {})
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if spec.get("holderIdentity") != identity:
        spec["acquireTime"] = stamp
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
    spec |= {"holderIdentity": identity, "leaseDurationSeconds": LEASE_S, "renewTime": stamp}
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if before is not None:
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }


class LeaderElection:
    """Tries for the lease, and holds it, until cancelled."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str, identity: str) -> None:
        self.leading = asyncio.Event()
        """Set while this operator may act."""
        self.gained = asyncio.Event()
        """Set whenever this operator begins to lead; for its one reader to clear."""
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._until = 0.0
        """Up to when this operator may act, on the loop's clock, which goes on while the process
        is frozen."""
        self._seen: tuple[str, float] = ("", 0.0)
        """The holder's last renewal as written, and when we first saw it (our clock: the
        holder's may be wrong)."""

    def may_act(self) -> bool:
        """Whether this operator leads at this moment.

        ``leading`` may be set a moment too long: in a process that was frozen, other tasks wake up
        before the one that would clear it.
        """
        return self.leading.is_set() and asyncio.get_running_loop().time() < self._until

    async def wait_to_act(self) -> None:
        """Return when this operator may act."""
        while not self.may_act():
            # Said by whoever finds it out first, so that nobody turns round and round meanwhile.
            self._set(False)
            await self.leading.wait()

    async def run(self) -> None:
        """Try for ever; gives the lease up when cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                try:
                    async with asyncio.timeout(TRY_S):
                        held = await self._try()
                except (LLMJobsError, TimeoutError) as error:
                    _log.warning("lease_not_renewed", error=str(error) or type(error).__name__)
                else:
                    # From before the request: the server may have written it at once.
                    self._until = began + GIVE_UP_S if held else 0.0
                self._set(loop.time() < self._until)
                pause_s = RENEW_S if self.leading.is_set() else WATCH_S
                if self.leading.is_set():
                    pause_s = min(pause_s, max(0.0, self._until - loop.time()))
                await asyncio.sleep(pause_s)
        finally:
            if self.leading.is_set():
                self._set(False)
                await self._give_up()

    def _set(self, leading: bool) -> None:
        if leading and not self.leading.is_set():
            _log.info("leading", identity=self._identity)
            self.leading.set()
            self.gained.set()
        elif not leading and self.leading.is_set():
            _log.warning("not_leading", identity=self._identity)
            self.leading.clear()

    async def _try(self) -> bool:
        """Take or renew the lease; False while another holds it."""
        now = datetime.now(UTC)
        try:
            lease = await self._cluster.fetch_lease(self._namespace, self._name)
        except ObjectGone:
            fresh = build_lease(self._name, self._namespace, self._identity, now=now, before=None)
            await self._cluster.create_lease(self._namespace, fresh)
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        if holder and holder != self._identity and not self._has_expired(spec):
            return False
        mine = build_lease(self._name, self._namespace, self._identity, now=now, before=lease)
        await self._cluster.replace_lease(self._namespace, self._name, mine)
        return True

    def _has_expired(self, spec: Mapping[str, Any]) -> bool:
        now = asyncio.get_running_loop().time()
        written = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
        if self._seen[0] != written:
            self._seen = (written, now)
        return now - self._seen[1] > float(spec.get("leaseDurationSeconds") or LEASE_S)

    async def _give_up(self) -> None:
        try:
            lease = await self._cluster.fetch_lease(self._namespace, self._name)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._cluster.replace_lease(self._namespace, self._name, lease)
        except LLMJobsError as error:
            _log.info("lease_not_given_up", error=str(error))
