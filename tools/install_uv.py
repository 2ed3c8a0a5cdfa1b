"""Put the pinned uv into .tools/bin, with nothing but the standard library.

A fresh Debian has Python without pip or venv, so this reads the wheel's address and SHA-256 from
uv.lock, downloads, checks and unpacks it. Run by the Makefile; prints the path of the uv to use.
"""

import hashlib
import io
import platform
import shutil
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".tools" / "bin" / "uv"


def wheel_tag() -> str:
    """Return the part of a wheel's file name that fits this machine."""
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if sys.platform == "darwin":
        return f"macosx_.*_{machine}".replace("aarch64", "arm64")
    return f"manylinux_2_17_{machine.replace('arm64', 'aarch64')}"


def pinned_wheel() -> tuple[str, str, str]:
    """Return the version, address and SHA-256 of uv's wheel for this machine."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    package = next(p for p in lock["package"] if p["name"] == "uv")
    tag = wheel_tag()
    for wheel in package["wheels"]:
        parts = tag.split(".*")
        if all(part in wheel["url"] for part in parts):
            return package["version"], wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise SystemExit(f"uv.lock has no uv wheel for {tag}: install uv by hand and run again")


def main() -> None:
    """Install uv unless the pinned version is there already."""
    version, url, sha256 = pinned_wheel()
    stamp = TARGET.with_name("uv.version")
    if TARGET.exists() and stamp.exists() and stamp.read_text() == version:
        print(TARGET)
        return
    print(f"fetching uv {version} ...", file=sys.stderr)
    with urllib.request.urlopen(url, timeout=120) as response:
        data = response.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SystemExit(f"uv {version}: the download does not match the hash in uv.lock")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/scripts/uv"))
        with tempfile.NamedTemporaryFile(dir=TARGET.parent, delete=False) as out:
            shutil.copyfileobj(archive.open(name), out)
    Path(out.name).chmod(0o755)
    Path(out.name).replace(TARGET)
    stamp.write_text(version)
    print(TARGET)


if __name__ == "__main__":
    main()
