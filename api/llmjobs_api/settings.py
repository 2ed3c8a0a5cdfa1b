"""The gateway's settings, from the environment: ``LLMJOBS_`` and the name in capitals.

Read once in ``__main__`` and passed down; nothing else reads the environment.
"""

import ipaddress
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llmjobs_core.logs import LogFormat
from llmjobs_core.requests import RequestLimits
from llmjobs_core.store import StoreOptions


class AuthMode(StrEnum):
    """Who may use the gateway."""

    NONE = "none"
    """Everybody who reaches it. Only on loopback, or with ``allow_anonymous``."""
    KUBERNETES = "kubernetes"
    """Whom the cluster knows, for what its RBAC allows."""
    APIKEYS = "apikeys"
    """Holders of a key from ``api_keys_file``, for the namespaces written there."""


class GatewaySettings(BaseSettings):
    """What can be set of a gateway; sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="LLMJOBS_", frozen=True, extra="ignore", populate_by_name=True
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    """0 picks a free one."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """May hold a password, so it is never logged."""
    prefix: str = Field("llmjobs:", max_length=64)
    """In front of every key in Redis."""
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "info"

    auth: AuthMode = AuthMode.NONE
    allow_anonymous: bool = False
    """Says in so many words that ``auth=none`` is meant although others can reach the port."""
    api_keys_file: Path | None = None
    """JSON: ``{"keys": [{"id", "sha256", "namespaces", "verbs"?}]}``; read again when changed."""
    token_audiences: Annotated[tuple[str, ...], NoDecode] = ()
    """Audiences a token must be for, comma-separated; empty for the API server's own."""
    kubeconfig: Path | None = None
    """How to reach the API server for ``auth=kubernetes`` and ``durable_jobs``; None uses the
    pod's account."""
    durable_jobs: bool = False
    """Take jobs with ``durable: true``, by an LLMJob each, and write to LLMJobs what HTTP clients
    wish of their jobs. Needs the rights to create, get and patch llmjobs."""
    auth_cache_s: float = Field(10.0, ge=0, le=300)
    """How long an answer of the API server about a token is believed."""
    default_namespace: str = Field("default", min_length=1, max_length=63)
    """Where jobs go when neither the request nor the caller's identity names a namespace."""

    max_body_bytes: int = Field(4 * 1_048_576, ge=1024)
    """A whole HTTP body, other than a batch that is streamed in."""
    max_request_bytes: int = Field(1_048_576, ge=256)
    """One OpenAI request: a job's body, or a batch line."""
    max_prompt_chars: int = Field(524_288, ge=1)
    max_batch_bytes: int = Field(200 * 1_048_576, ge=1024)
    """A whole batch that is streamed in."""
    max_batch_lines: int = Field(50_000, ge=1)
    max_jobs_per_request: int = Field(100, ge=1, le=1000)
    max_wait_s: float = Field(60.0, ge=0, le=600)
    """Longest ``Prefer: wait`` and ``?wait=``; a longer wish is cut to it."""
    max_streams: int = Field(5_000, ge=1)
    """Watchers of this process: event streams, WebSockets and long polls."""
    max_streams_per_user: int = Field(1_000, ge=1)

    keep_alive_s: float = Field(15.0, gt=0)
    """A comment goes out on a stream that was silent for so long."""
    shutdown_grace_s: float = Field(20.0, ge=0)
    """How long ordinary requests may take to end after SIGTERM; streams end at once."""
    reap_interval_s: float = Field(1.0, gt=0)
    """How often this process looks for lost leases and passed deadlines."""

    @model_validator(mode="before")
    @classmethod
    def _split_audiences(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("token_audiences"), str):
            names = data["token_audiences"].split(",")
            return data | {"token_audiences": tuple(name.strip() for name in names if name.strip())}
        return data

    @model_validator(mode="after")
    def _check_auth(self) -> Self:
        if self.auth is AuthMode.NONE and not (self.allow_anonymous or is_loopback(self.host)):
            raise ValueError(
                f"auth=none on {self.host} would let everybody in who can reach it: set auth to "
                "kubernetes or apikeys, bind to 127.0.0.1, or set allow_anonymous=true"
            )
        if self.auth is AuthMode.APIKEYS and self.api_keys_file is None:
            raise ValueError("auth=apikeys needs api_keys_file")
        return self

    @property
    def store(self) -> StoreOptions:
        """How to reach the store."""
        return StoreOptions(self.redis_url.get_secret_value(), self.prefix)

    @cached_property
    def limits(self) -> RequestLimits:
        """The bounds on a request to an engine."""
        return RequestLimits(
            body_bytes=self.max_request_bytes,
            prompt_chars=self.max_prompt_chars,
            batch_lines=self.max_batch_lines,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
