"""Put other projects' CRDs into .tools/kinds, so that tests can hold our manifests against them.

KEDA, Prometheus operator and the Gateway API carry their CRDs in their Go modules, which a Go
module proxy serves where their release sites are not reachable. Each module is pinned by version
and by the hash that go.sum would hold. Nothing of them is built or run. Run by the Makefile;
prints the folder.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".tools" / "kinds"


@dataclass(frozen=True, slots=True)
class Pin:
    """One module, and which of its files are CRDs that we write objects of."""

    module: str
    version: str
    sum: str
    """``h1:`` hash of the module's files, as in go.sum."""
    folder: str
    files: tuple[str, ...]


PINS = (
    Pin(
        "github.com/kedacore/keda/v2",
        "v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        "config/crd/bases",
        ("keda.sh_scaledobjects.yaml", "keda.sh_triggerauthentications.yaml"),
    ),
    Pin(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd",
        (
            "monitoring.coreos.com_podmonitors.yaml",
            "monitoring.coreos.com_prometheusrules.yaml",
            "monitoring.coreos.com_servicemonitors.yaml",
        ),
    ),
    Pin(
        "sigs.k8s.io/gateway-api",
        "v1.6.3",
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        "config/crd/standard",
        ("gateway.networking.k8s.io_httproutes.yaml",),
    ),
)


def install(pin: Pin) -> None:
    """Copy the module's CRDs; SystemExit says what is missing or wrong."""
    if all((TARGET / name).exists() for name in pin.files):
        return
    if shutil.which("go") is None:
        raise SystemExit(f"the CRDs of {pin.module} come by Go, which is not here: install Go")
    with tempfile.TemporaryDirectory() as outside_any_module:
        done = subprocess.run(
            ["go", "mod", "download", "-json", f"{pin.module}@{pin.version}"],
            cwd=outside_any_module,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{pin.module}: {done.stdout.strip()} {done.stderr.strip()}")
    told = json.loads(done.stdout)
    if told["Sum"] != pin.sum:
        raise SystemExit(f"{pin.module}: the download does not match its pinned hash")
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in pin.files:
        shutil.copyfile(Path(told["Dir"]) / pin.folder / name, TARGET / name)


def main() -> None:
    """Install them all; those of other versions go."""
    pinned = TARGET / "pins"
    pins = repr(PINS)
    if not pinned.exists() or pinned.read_text() != pins:
        shutil.rmtree(TARGET, ignore_errors=True)
        print("fetching CRDs of KEDA, Prometheus operator, Gateway API ...", file=sys.stderr)
    for pin in PINS:
        install(pin)
    pinned.write_text(pins)
    print(TARGET)


if __name__ == "__main__":
    main()
