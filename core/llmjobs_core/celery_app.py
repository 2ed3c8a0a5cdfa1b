"""The Celery app that all roles share, and its messages ready-made.

Celery delivers, routes and limits; the job record in the store is the truth. So a message carries
only a chunk reference, and losing or doubling one is harmless.
"""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from celery import Celery
from kombu.serialization import dumps

from llmjobs_core.names import TASK_NAME

ID_PLACEHOLDER = "@llmjobs-id@"
TAG_PLACEHOLDER = "@llmjobs-tag@"
QUEUE_PLACEHOLDER = "@llmjobs-queue@"

BRPOP_TIMEOUT_S = 1
"""How long kombu lets the server wait for a message (its ``Transport.brpop_timeout``)."""
HEALTH_S = 3
"""kombu looks so often for a fetch whose answer is overdue by as much, and drops its connection."""
SOCKET_TIMEOUT_S = 4.0
"""Of kombu's other calls, which block the consumer's thread: events, and connecting."""


def build_celery_app(redis_url: str) -> Celery:
    """Return a configured app for *redis_url*; nothing connects before it is used.

    Messages are never acknowledged: they are hints, and the lease recovers lost work. So kombu's
    bookkeeping of unacknowledged messages is off: it costs two round trips a message, and its
    writes are refused by a full Redis. The worker fetches a message only when a thread is free, so
    that none is stranded behind a long job.

    A reply that is an error (a demoted server is read-only, a full one refuses writes) restarts the
    consumer on a new connection; without that setting it would end the worker. A half-open
    connection is noticed within BRPOP_TIMEOUT_S + 2 * HEALTH_S.
    """
    app = Celery("llmjobs", broker=require_certificate(redis_url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_send_sent_event=True,
        task_create_missing_queues=True,
        worker_send_task_events=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=30,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_transport_options={
            "ack_emulation": False,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_S,
        },
    )
    return app


def require_certificate(redis_url: str) -> str:
    """Return the URL with which kombu checks the server's certificate, as redis-py does.

    kombu takes any certificate where a ``rediss://`` URL says nothing of it.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "rediss" or "ssl_cert_reqs" in parse_qs(parts.query):
        return redis_url
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}ssl_cert_reqs=required"))


def build_message_template(app: Celery) -> str:
    """Return a task message as it lies in Redis, with placeholders for id, tag and queue.

    Celery and kombu build it, so it is exactly what ``apply_async`` would send; the store's
    scripts fill in the placeholders and push it. Source: kombu's virtual transport keeps a message
    as JSON with ``body``, ``headers`` and ``properties``.
    """
    task = app.amqp.as_task_v2(
        ID_PLACEHOLDER, TASK_NAME, args=(ID_PLACEHOLDER,), kwargs={}, create_sent_event=False
    )
    content_type, content_encoding, body = dumps(task.body, "json")  # type: ignore[no-untyped-call]
    message: dict[str, Any] = {
        "body": body,
        "content-encoding": content_encoding,
        "content-type": content_type,
        "headers": {**task.headers, "origin": "llmjobs"},
        "properties": {
            "correlation_id": ID_PLACEHOLDER,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE_PLACEHOLDER},
            "priority": 0,
            "delivery_tag": TAG_PLACEHOLDER,
        },
    }
    return json.dumps(message)
