"""Posting Events about our objects."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from llmjobs_operator.cluster import Cluster
from llmjobs_operator.job_events import NewEvent
from llmjobs_operator.objects import API_VERSION, FIELD_MANAGER, ObjectKey

_MESSAGE_MAX = 1024
"""The API server refuses a longer note."""


def build_event(key: ObjectKey, uid: str, event: NewEvent, *, now: datetime) -> dict[str, Any]:
    """Return the Event object about the object *key*."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{key.name[:200]}.{secrets.token_hex(8)}",
            "namespace": key.namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": str(key.kind),
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": event.message[:_MESSAGE_MAX],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


async def publish_events(
    cluster: Cluster, key: ObjectKey, uid: str, events: Iterable[NewEvent]
) -> None:
    """Post *events* in order; raises ClusterUnavailable."""
    for event in events:
        await cluster.publish_event(
            key.namespace, build_event(key, uid, event, now=datetime.now(UTC))
        )
