"""Write manifests/base, manifests/monitoring and manifests/install.yaml, from the chart.

All are the chart with its own values but for the store's Secret; what needs Prometheus operator or
Grafana's sidecar is in manifests/monitoring. With ``--check`` it only says
which differ, and returns 1 if any does. Needs Helm (tools/install_helm.py).
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HELM = ROOT / ".tools" / "helm" / "helm-4.2"
NAMESPACE = "llmjobs-system"
STORE_SECRET = "llmjobs-redis"
MONITORING = ("monitors", "alerts", "dashboards")
"""Templates of what only a cluster with Prometheus operator, or Grafana's sidecar, uses."""
_MONITORING_KINDS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
_MADE = "# Made from charts/llmjobs by `make generate`; do not edit.\n"
_NAMESPACE = f"""apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
"""


def render(*settings: str) -> str:
    """Return the chart as Helm renders it; SystemExit with what Helm said."""
    command = [
        str(HELM), "template", "llmjobs", str(ROOT / "charts" / "llmjobs"),
        "--namespace", NAMESPACE, "--kube-version", "1.30.0", "--skip-tests",
        "--set", f"redis.external.existingSecret={STORE_SECRET}",
    ]  # fmt: skip
    for kind in _MONITORING_KINDS:
        command += ["--api-versions", f"monitoring.coreos.com/v1/{kind}"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"helm template failed:\n{done.stderr.strip()}")
    return done.stdout


def build_files() -> dict[Path, str]:
    """Return each file and its content."""
    parts = render().split("---\n# Source: ")[1:]

    def of(template: str) -> list[str]:
        return [part for part in parts if part.startswith(f"llmjobs/templates/{template}.yaml\n")]

    crds, extras = of("crds"), {name: of(name) for name in MONITORING}
    apart = [part for found in (crds, *extras.values()) for part in found]
    rest = [part for part in parts if part not in apart]
    base = ROOT / "manifests" / "base"
    files = {
        base / "namespace.yaml": f"{_MADE}{_NAMESPACE}",
        base / "crds.yaml": _MADE + _join(crds),
        base / "llmjobs.yaml": _MADE + _join(rest),
    }
    whole = [text.removeprefix(_MADE).removeprefix("---\n") for text in files.values()]
    head = (
        f"{_MADE}# The store's URL must be in the Secret {STORE_SECRET} of namespace {NAMESPACE},"
        " under `url`.\n"
    )
    files[ROOT / "manifests" / "install.yaml"] = head + "---\n".join(whole)
    for name, found in extras.items():
        files[ROOT / "manifests" / "monitoring" / f"{name}.yaml"] = _MADE + _join(found)
    return files


def _join(parts: list[str]) -> str:
    return "".join(f"---\n# Source: {part.strip()}\n" for part in parts)


def main() -> int:
    """Write the files, or check them."""
    check, drifted = "--check" in sys.argv[1:], False
    for path, content in build_files().items():
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        drifted = True
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main())
