"""What Kopf tells us, put on the worklist: thin on purpose, and nothing is written from here.

Only ``on.event`` handlers are used: they keep no annotation with a copy of the spec (prompts!), no
finalizer and no task per object.
"""

from collections.abc import Callable
from typing import Any

import kopf

from llmjobs_core.names import GROUP, VERSION, PoolKey
from llmjobs_operator.objects import POOL_LABEL, Kind, ObjectKey
from llmjobs_operator.view import ClusterView

Told = Callable[[ObjectKey, bool], None]
"""Called with what to look at, and whether it is gone."""
PoolTold = Callable[[PoolKey], None]


def build_registry(view: ClusterView, told: Told, pool_told: PoolTold) -> kopf.OperatorRegistry:
    """Return Kopf's registry with our handlers; they remember in *view* and tell."""
    registry = kopf.OperatorRegistry()

    def see_object(kind: Kind, event: Any) -> None:
        body = event["object"]
        key = ObjectKey(kind, body["metadata"]["namespace"], body["metadata"]["name"])
        gone = event["type"] == "DELETED"
        if gone:
            view.forget(key)
        else:
            view.see(key, body)
        told(key, gone)

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.networking.request_timeout = 30

    @kopf.on.login(registry=registry)
    async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, "llmjobs", registry=registry)
    async def see_job(event: Any, **_: Any) -> None:
        see_object(Kind.JOB, event)

    @kopf.on.event(GROUP, VERSION, "llmworkerpools", registry=registry)
    async def see_pool(event: Any, **_: Any) -> None:
        see_object(Kind.POOL, event)

    _watch_owned(registry, view, pool_told)
    return registry


def _watch_owned(registry: kopf.OperatorRegistry, view: ClusterView, pool_told: PoolTold) -> None:
    """Watch what we made: the Deployments of pools and their pods."""
    owned = {POOL_LABEL: kopf.PRESENT}

    @kopf.on.event("apps", "v1", "deployments", labels=owned, registry=registry)
    async def see_deployment(event: Any, **_: Any) -> None:
        pool = view.see_deployment(event["object"], gone=event["type"] == "DELETED")
        if pool is not None:
            pool_told(pool)

    @kopf.on.event("", "v1", "pods", labels=owned, registry=registry)
    async def see_pod(event: Any, **_: Any) -> None:
        pool = view.see_pod(event["object"], gone=event["type"] == "DELETED")
        if pool is not None:
            pool_told(pool)
