"""The worker's settings, from the environment: ``LLMJOBS_`` and the name in capitals."""

import os
import secrets
import socket
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from llmjobs_core.logs import LogFormat
from llmjobs_core.names import PoolKey
from llmjobs_worker.resume import EngineKind


def _check_pool(value: str) -> str:
    namespace, slash, name = value.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ValueError("must be namespace/name")
    return value


def _build_worker_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class WorkerSettings(BaseSettings):
    """Read once at the start."""

    model_config = SettingsConfigDict(
        env_prefix="LLMJOBS_", frozen=True, extra="ignore", populate_by_name=True
    )

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """May hold a password, so it is never logged."""
    prefix: str = Field("llmjobs:", max_length=64)
    """In front of every key in Redis."""
    pool: Annotated[str, AfterValidator(_check_pool)]
    """The pool to work for, as ``namespace/name``."""
    worker_name: str = Field(
        default_factory=_build_worker_name,
        validation_alias=AliasChoices("LLMJOBS_WORKER_NAME", "POD_NAME"),
        max_length=253,
    )
    """The pod's name; with a random suffix it names this process in the store."""

    engine_url: str = "http://127.0.0.1:8000"
    """Base URL of the OpenAI-compatible engine, with or without ``/v1``."""
    engine_api_key: SecretStr = SecretStr("")
    engine_kind: EngineKind | None = None
    """What the engine understands; None asks ``GET /v1/models``."""
    health_path: str = "/health"
    """Answers with success while the engine can work; empty takes it for healthy always."""
    connect_timeout_s: float = Field(10.0, gt=0)
    first_byte_timeout_s: float = Field(600.0, gt=0)
    """Reading a long prompt is silent."""
    idle_timeout_s: float = Field(120.0, gt=0)
    """Longest silence inside a stream."""

    concurrency: int = Field(8, ge=1, le=4096)
    """Requests at the engine at once (slots)."""
    retry_base_ms: int = Field(500, ge=1)
    retry_cap_s: float = Field(60.0, gt=0)

    bind_address: str = Field(
        "127.0.0.1", validation_alias=AliasChoices("LLMJOBS_BIND_ADDRESS", "POD_IP")
    )
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are served."""
    metrics_port: int = Field(9090, ge=0, le=65535)
    """0 takes any free port."""
    drain_budget_s: float = Field(20.0, gt=0)
    """After SIGTERM the process is gone in this time, drained or not."""
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "info"

    @property
    def pool_key(self) -> PoolKey:
        """The pool as a key."""
        return PoolKey.parse(self.pool)

    def build_worker_id(self) -> str:
        """Return a name for this very process: ``POD.suffix``."""
        return f"{self.worker_name}.{secrets.token_hex(3)}"
