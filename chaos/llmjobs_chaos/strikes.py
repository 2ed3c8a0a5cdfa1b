"""Carries out planned faults on a cluster, and puts back what fell: as Kubernetes would."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress

from llmjobs_chaos.cluster import Cluster, Server
from llmjobs_chaos.faults import Fault, Kind

DRAIN_S = 30.0


class Striker:
    """Strikes one cluster."""

    def __init__(self, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._say = say
        self._ways: dict[Kind, Callable[[Fault], Coroutine[None, None, None]]] = {
            Kind.WORKER_KILL: lambda f: self._kill(cluster.workers, f),
            Kind.WORKER_STOP: lambda f: self._stop(cluster.workers, f),
            Kind.WORKER_TERM: self._terminate,
            Kind.ENGINE_KILL: lambda f: self._kill(cluster.engines, f),
            Kind.ENGINE_STOP: lambda f: self._stop(cluster.engines, f),
            Kind.GATEWAY_STOP: lambda f: self._stop(cluster.gateways, f),
            Kind.GATEWAY_KILL: lambda f: self._kill(cluster.gateways, f),
            Kind.OPERATOR_KILL: lambda f: self._kill(cluster.operators, f),
            Kind.OPERATOR_STOP: lambda f: self._stop(cluster.operators, f),
            Kind.REDIS_KILL: lambda f: cluster.crash_redis(down_s=f.lasts_s),
            Kind.REDIS_SLOW: self._slow,
            Kind.REDIS_CUT: self._cut,
            Kind.API_SERVER_KILL: self._restart_api_server,
        }
        self.struck: Counter[Kind] = Counter()

    async def strike_all(self, faults: Iterable[Fault], *, until: asyncio.Event) -> None:
        """Strike at the planned times; leaves off early, and cleanly, once *until* is set.

        Returns when everything that fell is up again.
        """
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                with suppress(TimeoutError):
                    wait_s = fault.at_s - (time.monotonic() - began_s)
                    await asyncio.wait_for(until.wait(), max(0.0, wait_s))
                if until.is_set():
                    break
                self.struck[fault.kind] += 1
                self._say(f"{time.monotonic() - began_s:5.1f} s  {fault.kind}")
                group.create_task(self._ways[fault.kind](fault))

    async def _kill(self, servers: Sequence[Server], fault: Fault) -> None:
        victim = _pick(servers, fault)
        await victim.kill()
        await asyncio.sleep(fault.lasts_s)
        await victim.restart()

    async def _stop(self, servers: Sequence[Server], fault: Fault) -> None:
        victim = _pick(servers, fault)
        victim.process.signal(signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_s)
        victim.process.signal(signal.SIGCONT)

    async def _terminate(self, fault: Fault) -> None:
        victim = _pick(self._cluster.workers, fault)
        victim.process.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(victim.process.wait(), DRAIN_S)
        except TimeoutError:
            await victim.kill()
        await victim.restart()

    async def _slow(self, fault: Fault) -> None:
        proxy = self._cluster.proxy
        assert proxy is not None, "latency needs the proxy"
        proxy.latency_s = 0.05 + fault.which / 5_000
        await asyncio.sleep(fault.lasts_s)
        proxy.latency_s = 0.0

    async def _cut(self, _: Fault) -> None:
        proxy = self._cluster.proxy
        assert proxy is not None, "cutting needs the proxy"
        proxy.cut()

    async def _restart_api_server(self, _: Fault) -> None:
        assert self._cluster.plane is not None, "there is no API server"
        await self._cluster.plane.restart_api_server()


def _pick(servers: Sequence[Server], fault: Fault) -> Server:
    """Return one that runs, or any if none does."""
    running = [server for server in servers if server.is_running] or list(servers)
    return running[fault.which % len(running)]
