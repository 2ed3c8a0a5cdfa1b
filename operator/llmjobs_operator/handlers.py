"""What Kopf tells us, handed on: thin on purpose, and nothing is written from here.

Only ``on.event`` handlers are used: they keep no annotation with a copy of the spec (prompts!), no
finalizer and no task per object.
"""

from collections.abc import Callable, Iterator
from typing import Any

import kopf

from llmjobs_core.names import GROUP, VERSION
from llmjobs_operator.objects import COLLECTIONS, POOL_LABEL, Kind

Seen = Callable[[Kind, Any], None]
"""Called with each watch event: ``type`` (None for what was listed) and ``object``."""

REQUEST_TIMEOUT_S = 15
WATCH_S = 15
"""The API server ends each watch after so long, and Kopf goes on from where it was."""
SILENCE_S = 20
"""A watch that neither tells anything nor ends for so long is dead (a half-open connection). It
must be longer than WATCH_S. Kopf's own bound is 70 s, since bookmarks come every 60 s."""


class Backoffs:
    """Pauses between the attempts of one of Kopf's requests: without end.

    With Kopf's own, an API server that answers 5xx for a minute ends the watch for good.
    """

    def __iter__(self) -> Iterator[float]:
        """Yield seconds."""
        yield from (0.2, 0.5, 1.0)
        while True:
            yield 2.0


def configure_kopf(settings: kopf.OperatorSettings) -> None:
    """Let Kopf post nothing, notice dead connections, and never give up."""
    settings.posting.enabled = False
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Backoffs()
    settings.watching.server_timeout = WATCH_S
    settings.watching.inactivity_timeout = SILENCE_S


def build_registry(seen: Seen) -> kopf.OperatorRegistry:
    """Return Kopf's registry with our handlers, which only tell *seen*."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_kopf(settings)

    @kopf.on.login(registry=registry)
    async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, COLLECTIONS[Kind.JOB][1], registry=registry)
    async def see_job(event: Any, **_: Any) -> None:
        seen(Kind.JOB, event)

    @kopf.on.event(GROUP, VERSION, COLLECTIONS[Kind.POOL][1], registry=registry)
    async def see_pool(event: Any, **_: Any) -> None:
        seen(Kind.POOL, event)

    owned = {POOL_LABEL: kopf.PRESENT}

    @kopf.on.event("apps", "v1", "deployments", labels=owned, registry=registry)
    async def see_deployment(event: Any, **_: Any) -> None:
        seen(Kind.DEPLOYMENT, event)

    @kopf.on.event("", "v1", "pods", labels=owned, registry=registry)
    async def see_pod(event: Any, **_: Any) -> None:
        seen(Kind.POD, event)

    return registry
