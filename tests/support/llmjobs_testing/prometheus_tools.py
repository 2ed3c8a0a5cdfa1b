"""Where the tests' prometheus and promtool are (`make` puts them there)."""

import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@cache
def find_program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``; installs both where they are missing."""
    path = ROOT / ".tools" / "bin" / name
    if not path.exists():
        installer = ROOT / "tools" / "install_prometheus.py"
        subprocess.run([sys.executable, str(installer)], check=True, timeout=300)
    return str(path)


def run_promtool(*args: str) -> None:
    """Run promtool; AssertionError with what it said where it fails."""
    done = subprocess.run(
        [find_program("promtool"), *args], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
