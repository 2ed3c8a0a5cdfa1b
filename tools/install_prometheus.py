"""Put prometheus and promtool into .tools/bin, for the tests of rules and dashboards.

Taken from PATH where both are there; else from Debian's signed archive, unpacked without installing
anything, which needs neither root nor a package index of the machine's own. Says what is missing
where neither is at hand. Prints the folder.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".tools" / "bin"
PROGRAMS = ("prometheus", "promtool")
OLDEST = (2, 42)
"""The version that the rules were tested with first: Debian 12's."""
_TIMEOUT_S = 300


def read_version(program: str) -> tuple[int, int] | None:
    """Return major and minor version of a program; None if it does not say."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    return (int(found[1]), int(found[2])) if found else None


def is_usable(program: str | Path | None) -> bool:
    """Return whether *program* runs and is new enough."""
    version = read_version(str(program)) if program else None
    return version is not None and version >= OLDEST


def link_from_path() -> bool:
    """Take both programs from PATH; False where one is missing or too old."""
    found = {name: shutil.which(name) for name in PROGRAMS}
    if not all(is_usable(program) for program in found.values()):
        return False
    for name, program in found.items():
        (FOLDER / name).unlink(missing_ok=True)
        (FOLDER / name).symlink_to(str(program))
    return True


def unpack_from_debian() -> None:
    """Download Debian's package and take both programs out of it. Raises SystemExit."""
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(
            f"prometheus: put {' and '.join(PROGRAMS)} {_dotted(OLDEST)} or newer on PATH "
            f"(https://prometheus.io/download); Debian's way is closed here: no {missing[0]}"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = _download(folder)
        _run(["dpkg-deb", "-x", str(package), str(folder / "files")], folder)
        for program in PROGRAMS:
            shutil.move(folder / "files" / "usr" / "bin" / program, FOLDER / program)


def _download(folder: Path) -> Path:
    """Download the package; with a package index of our own where the machine has none."""
    command = ["apt-get", "-o", "APT::Sandbox::User=", "download", "prometheus"]
    try:
        _run(command, folder)
    except subprocess.SubprocessError:
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True)
        ours = ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
        _run(["apt-get", *ours, "-o", "APT::Sandbox::User=", "update"], folder)
        _run([command[0], *ours, *command[1:]], folder)
    return next(folder.glob("prometheus_*.deb"))


def _run(command: list[str], folder: Path) -> None:
    print(" ".join(command[:1] + command[-2:]), "...", file=sys.stderr)
    subprocess.run(command, cwd=folder, check=True, timeout=_TIMEOUT_S, stdout=sys.stderr)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)


def main() -> None:
    """Install both programs unless usable ones are there already."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not all(is_usable(FOLDER / name) for name in PROGRAMS) and not link_from_path():
        try:
            unpack_from_debian()
        except subprocess.SubprocessError as error:
            raise SystemExit(f"prometheus: Debian's archive did not give it: {error}") from error
    for name in PROGRAMS:
        if not is_usable(FOLDER / name):
            raise SystemExit(f"prometheus: {name} is older than {_dotted(OLDEST)} or does not run")
    print(FOLDER)


if __name__ == "__main__":
    main()
