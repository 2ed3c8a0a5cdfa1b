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


IDLE_S = 0.5
"""How long Kopf keeps a task for an object that nothing is told of. After a list each object has
one, so its own 5 s are twenty thousand tasks."""
PAGE = 500
"""Objects in one page of a list, so that it is never held whole."""


class Backoffs:
    """Pauses between the attempts of one of Kopf's requests: without end.

    With Kopf's own, an API server that answers 5xx for a minute ends the watch for good.
    """

    def __iter__(self) -> Iterator[float]:
        """Yield seconds."""
        yield from (0.2, 0.5, 1.0)
        while True:
            yield 2.0


class NoDiffs(kopf.DiffBaseStorage):
    """Compares nothing: handlers of plain events take no differences.

    Kopf's own copies each object's spec twice at every event before it finds that nobody asks.
    """

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> Any:  # noqa: ARG002
        """Return an object without anything to compare."""
        return {}

    def fetch(self, *, body: kopf.Body) -> Any:  # noqa: ARG002 - Kopf's interface
        """Return that nothing was handled before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: Any) -> None:
        """Store nothing."""


def configure_kopf(settings: kopf.OperatorSettings, *, scan: bool) -> None:
    """Let Kopf post nothing, compare nothing, notice dead connections, and never give up.

    *scan* is for the right to read namespaces and CRDs. Without the right Kopf would ask for ever,
    since it takes a refusal for an error to try again, and watch nothing meanwhile.
    """
    settings.scanning.disabled = not scan
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDiffs()
    settings.queueing.idle_timeout = IDLE_S
    settings.watching.chunk_size = PAGE
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Backoffs()
    settings.watching.server_timeout = WATCH_S
    settings.watching.inactivity_timeout = SILENCE_S
    # Kopf takes its own end for the process's, and kills that ten minutes later: see `watching`.
    settings.process.ultimate_exiting_timeout = None


def build_registry(seen: Seen, *, scan: bool) -> kopf.OperatorRegistry:
    """Return Kopf's registry with our handlers, which only tell *seen*."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_kopf(settings, scan=scan)

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
