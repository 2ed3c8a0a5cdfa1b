"""The job store: the only code that knows Redis keys. Its atomic steps are the Lua files here."""

from llmjobs_core.store.bulk_reader import Standing
from llmjobs_core.store.connection import StoreOptions, build_async_client, build_sync_client
from llmjobs_core.store.feeds import ChangeReader, ShardReader, build_feed_client
from llmjobs_core.store.jobstore import JobStore
from llmjobs_core.store.leases import LeaseStore, RenewResult, WakeReader

__all__ = [
    "ChangeReader",
    "JobStore",
    "LeaseStore",
    "RenewResult",
    "ShardReader",
    "Standing",
    "StoreOptions",
    "WakeReader",
    "build_async_client",
    "build_feed_client",
    "build_sync_client",
]
