"""Which llmjobs a process is, as the one series that every role serves."""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge

BUILD_INFO = "llmjobs_build_info"
BUILD_INFO_TEXT = "Always 1; the labels say which role this is, and its version."
BUILD_INFO_LABELS = ("role", "version")


def build_version() -> str:
    """Return the version of the installed package."""
    return version("llmjobs")


def add_build_info(registry: CollectorRegistry, role: str) -> None:
    """Let *registry* say that this process is a *role* of this version."""
    gauge = Gauge(BUILD_INFO, BUILD_INFO_TEXT, BUILD_INFO_LABELS, registry=registry)
    gauge.labels(role, build_version()).set(1)
