"""What the app needs from outside, as functions that open it; tests may give others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from llmjobs_api.hub import OpenReader
from llmjobs_api.identity import Anonymous, ApiKeys, Authority
from llmjobs_api.resources import JobResources
from llmjobs_api.settings import AuthMode, GatewaySettings
from llmjobs_core.store import JobStore, ShardReader, build_feed_client


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and the LLMJobs that this gateway may make (None: it makes none)."""

    authority: Authority
    resources: JobResources | None


@dataclass(frozen=True, slots=True)
class Ports:
    """How the app reaches the store, its live events, and the cluster."""

    open_store: Callable[[], JobStore]
    open_reader: OpenReader
    open_access: Callable[[], AbstractAsyncContextManager[Access]]


def build_ports(settings: GatewaySettings) -> Ports:
    """Return the real ones."""

    def open_reader() -> tuple[ShardReader, Callable[[], Awaitable[None]]]:
        client = build_feed_client(settings.store)
        return ShardReader(client, prefix=settings.prefix), client.aclose

    @asynccontextmanager
    async def open_access() -> AsyncIterator[Access]:
        if settings.auth is not AuthMode.KUBERNETES and not settings.durable_jobs:
            yield Access(_open_local(settings), None)
            return
        # Loaded only where it is used: the Kubernetes client costs 50 MiB and half a second.
        from llmjobs_api.cluster import Cluster  # noqa: PLC0415
        from llmjobs_api.kube_auth import KubernetesAuthority  # noqa: PLC0415

        cluster = await Cluster.connect(settings.kubeconfig)
        try:
            resources = cluster if settings.durable_jobs else None
            if settings.auth is not AuthMode.KUBERNETES:
                yield Access(_open_local(settings), resources)
                return
            authority = KubernetesAuthority(
                cluster,
                audiences=settings.token_audiences,
                cache_s=settings.auth_cache_s,
                default_namespace=settings.default_namespace,
            )
            yield Access(authority, resources)
        finally:
            await cluster.close()

    return Ports(lambda: JobStore.connect(settings.store), open_reader, open_access)


def _open_local(settings: GatewaySettings) -> Authority:
    """Return who needs no cluster to know the callers."""
    if settings.auth is AuthMode.APIKEYS and settings.api_keys_file is not None:
        return ApiKeys(settings.api_keys_file, settings.default_namespace)
    return Anonymous(settings.default_namespace)
