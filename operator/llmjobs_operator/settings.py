"""The operator's settings, from the environment: ``LLMJOBS_`` and the name in capitals."""

import os
import socket

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from llmjobs_core.logs import LogFormat


class OperatorSettings(BaseSettings):
    """Read once at the start."""

    model_config = SettingsConfigDict(
        env_prefix="LLMJOBS_", frozen=True, extra="ignore", populate_by_name=True
    )

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    prefix: str = Field("llmjobs:", max_length=64)
    namespaces: str = ""
    """Namespaces to look after, separated by commas; empty for all."""
    lease_namespace: str = Field(
        "default", validation_alias=AliasChoices("LLMJOBS_LEASE_NAMESPACE", "POD_NAMESPACE")
    )
    lease_name: str = "llmjobs-operator"
    identity: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", max_length=253
    )

    worker_image: str = "llmjobs-worker:dev"
    worker_redis_url: SecretStr = SecretStr("")
    """The store's URL as workers see it; the operator's own when empty. It may hold a password, so
    prefer a Secret."""
    worker_redis_secret: str = ""
    """A Secret, there in every namespace with pools, that holds the URL; wins over the URL."""
    worker_redis_secret_key: str = "url"  # noqa: S105 - the name of a key, not a secret
    worker_log_format: LogFormat = LogFormat.JSON

    bind_address: str = Field(
        "127.0.0.1", validation_alias=AliasChoices("LLMJOBS_BIND_ADDRESS", "POD_IP")
    )
    metrics_port: int = Field(9091, ge=0, le=65535)
    concurrency: int = Field(32, ge=1, le=256)
    """Objects reconciled at once."""
    resync_s: float = Field(30.0, gt=0)
    demand_poll_s: float = Field(0.5, gt=0)
    """How often the demand of all pools is read, in one round trip."""
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "info"

    @property
    def namespace_list(self) -> list[str]:
        """The namespaces to look after; empty for all."""
        return [name.strip() for name in self.namespaces.split(",") if name.strip()]
