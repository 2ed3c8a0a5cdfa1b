"""The exporter's settings, from the environment: ``LLMJOBS_`` and the name in capitals."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from llmjobs_core.logs import LogFormat
from llmjobs_core.store import StoreOptions


class ExporterSettings(BaseSettings):
    """Read once at the start."""

    model_config = SettingsConfigDict(env_prefix="LLMJOBS_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(9092, ge=0, le=65_535)
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """May hold a password, so it is never logged."""
    prefix: str = Field("llmjobs:", max_length=64)
    """In front of every key in Redis."""
    scrape_timeout_s: float = Field(5.0, gt=0)
    """Reading the store may take so long; then its metrics are left out of that scrape."""
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "info"

    @property
    def store(self) -> StoreOptions:
        """How to reach the store."""
        return StoreOptions(self.redis_url.get_secret_value(), self.prefix)
