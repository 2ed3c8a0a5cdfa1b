"""What the app needs from outside, as functions that open it; tests may give others."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmjobs_api.hub import OpenReader
from llmjobs_api.identity import Anonymous, ApiKeys, Authority
from llmjobs_api.settings import AuthMode, GatewaySettings
from llmjobs_core.store import JobStore, ShardReader, build_feed_client


@dataclass(frozen=True, slots=True)
class Ports:
    """How the app reaches the store, its live events, and whoever knows the callers."""

    open_store: Callable[[], JobStore]
    open_reader: OpenReader
    open_authority: Callable[[], Awaitable[Authority]]


def build_ports(settings: GatewaySettings) -> Ports:
    """Return the real ones."""

    def open_reader() -> tuple[ShardReader, Callable[[], Awaitable[None]]]:
        client = build_feed_client(settings.store)
        return ShardReader(client, prefix=settings.prefix), client.aclose

    async def open_authority() -> Authority:
        if settings.auth is AuthMode.APIKEYS and settings.api_keys_file is not None:
            return ApiKeys(settings.api_keys_file, settings.default_namespace)
        if settings.auth is AuthMode.KUBERNETES:
            # Loaded only where it is used: the Kubernetes client costs 50 MiB and half a second.
            from llmjobs_api.kube_auth import connect_authority  # noqa: PLC0415

            return await connect_authority(
                settings.kubeconfig,
                audiences=settings.token_audiences,
                cache_s=settings.auth_cache_s,
                default_namespace=settings.default_namespace,
            )
        return Anonymous(settings.default_namespace)

    return Ports(lambda: JobStore.connect(settings.store), open_reader, open_authority)
