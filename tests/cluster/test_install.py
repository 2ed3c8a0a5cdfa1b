"""The chart in an empty cluster, in a namespace that enforces the restricted standard."""

from llmjobs_e2e.target import SYSTEM, Installed, Measure, Target

INSTALL_S = 60
IDLE_MIB = 300
PARTS = ("exporter", "gateway", "operator")


def test_everything_is_ready_within_a_minute_of_helm_install(
    installed: Installed, measured: Measure
) -> None:
    measured("helm install to all ready, s", installed.took_s, INSTALL_S)


def test_nothing_is_warned_of_or_rejected_in_a_restricted_namespace(
    target: Target, installed: Installed
) -> None:
    assert "warning" not in installed.said.lower(), installed.said
    reasons = [event["reason"] for event in target.list("events", SYSTEM)]
    assert "FailedCreate" not in reasons


def test_helm_test_passes(target: Target, installed: Installed) -> None:
    target.helm("test", "llmjobs", "--timeout=120s")


def test_control_plane_idles_in_300_mib(
    target: Target, installed: Installed, measured: Measure
) -> None:
    used = target.fetch_memory(SYSTEM)
    parts = {part: max(mib for pod, mib in used.items() if part in pod) for part in PARTS}
    measured(f"memory of {parts}, MiB", sum(parts.values()), IDLE_MIB)
