"""Where the control plane's programs come from, on a machine that may or may not have internet.

Tried in this order, and said while it is tried: ``KUBEBUILDER_ASSETS``, our cache, the official
release (checked by its published SHA-256), a build by Go from Kubernetes' own modules, pinned by
the go.mod and go.sum beside this file. What is made appears in the cache whole or not at all.
"""

import asyncio
import hashlib
import os
import platform
import shutil
import stat
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from llmjobs_dev.go_build import GO_MINIMUM, Say, build_programs, exclusive

KUBERNETES_VERSION = "1.36.3"
ETCD_VERSION = "3.6.8"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

_CONNECT_TIMEOUT_S = 3
"""An offline machine must fall through to the next source soon (arbitrary)."""


class BinariesUnavailableError(RuntimeError):
    """No source has the programs; the message lists what was tried and what to install."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder that holds every one of :data:`PROGRAMS`."""

    folder: Path
    source: str

    def path(self, program: str) -> str:
        """Return the program's full path."""
        return str(self.folder / program)


def default_cache_dir() -> Path:
    """Return where llmjobs keeps what it downloads or builds."""
    override = os.environ.get("LLMJOBS_CACHE_DIR")
    if override:
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llmjobs"


def platform_name() -> tuple[str, str]:
    """Return this machine's operating system and architecture as Go names them."""
    machine = platform.machine().lower()
    return sys.platform, {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def has_all(folder: Path) -> bool:
    """Return whether every program is there and can be run."""
    return all(os.access(folder / program, os.X_OK) for program in PROGRAMS)


async def fetch_binaries(say: Say, *, cache_dir: Path | None = None) -> Binaries:
    """Return the programs from the first source that has them.

    Raises BinariesUnavailableError with every attempt and its reason.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        folder = Path(assets)
        if has_all(folder):
            return Binaries(folder, "KUBEBUILDER_ASSETS")
        missing = [p for p in PROGRAMS if not os.access(folder / p, os.X_OK)]
        say(f"KUBEBUILDER_ASSETS={assets} lacks {', '.join(missing)}: looking elsewhere")
    system, machine = platform_name()
    target = (
        (cache_dir or default_cache_dir())
        / "kubernetes"
        / (f"{KUBERNETES_VERSION}-{system}-{machine}")
    )
    if has_all(target):
        return Binaries(target, "cache")
    return await asyncio.to_thread(_obtain, target, say)


def _obtain(target: Path, say: Say) -> Binaries:
    failures: list[str] = []
    with exclusive(target, say):
        if has_all(target):
            return Binaries(target, "cache")
        for left_over in target.parent.glob(".part-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        for name, source in (("official release", _download), ("build with Go", _build)):
            started = time.monotonic()
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as part:
                folder = Path(part) / "bin"
                folder.mkdir()
                try:
                    source(folder, say)
                except (OSError, RuntimeError) as error:
                    failures.append(f"{name}: {error}")
                    say(f"{name}: {error}")
                    continue
                shutil.rmtree(target, ignore_errors=True)
                folder.rename(target)
            say(f"{name}: done in {time.monotonic() - started:.0f} s")
            return Binaries(target, name)
    tried = "\n  - ".join(failures)
    raise BinariesUnavailableError(
        f"the Kubernetes {KUBERNETES_VERSION} programs could not be had:\n  - {tried}\n"
        f"Set KUBEBUILDER_ASSETS to a folder with {', '.join(PROGRAMS)}, or install "
        f"Go >= {GO_MINIMUM[0]}.{GO_MINIMUM[1]}."
    )


def _download(folder: Path, say: Say) -> None:
    system, machine = platform_name()
    if system != "linux":
        raise RuntimeError(f"there is no release of the server programs for {system}")
    say(f"trying the official Kubernetes {KUBERNETES_VERSION} release ...")
    base = f"https://dl.k8s.io/release/v{KUBERNETES_VERSION}/bin/{system}/{machine}"
    for program in PROGRAMS[1:]:
        expected = _read(f"{base}/{program}.sha256").decode().split()[0]
        _write_checked(folder / program, _read(f"{base}/{program}"), expected)
    name = f"etcd-v{ETCD_VERSION}-{system}-{machine}"
    site = f"https://github.com/etcd-io/etcd/releases/download/v{ETCD_VERSION}"
    sums = _read(f"{site}/SHA256SUMS").decode().splitlines()
    expected = next(line.split()[0] for line in sums if line.endswith(f"{name}.tar.gz"))
    archive = folder / "etcd.tar.gz"
    _write_checked(archive, _read(f"{site}/{name}.tar.gz"), expected)
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"{name}/etcd")
        if member is None:
            raise RuntimeError("etcd's release archive holds no etcd")
        _write_program(folder / "etcd", member.read())
    archive.unlink()


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_S) as response:  # noqa: S310 - fixed https addresses
            return bytes(response.read())
    except urllib.error.URLError as error:
        raise RuntimeError(f"{url} can't be read: {error.reason}") from error


def _write_checked(path: Path, data: bytes, sha256: str) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RuntimeError(f"{path.name} does not match its published SHA-256")
    _write_program(path, data)


def _write_program(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _build(folder: Path, say: Say) -> None:
    say(f"building Kubernetes {KUBERNETES_VERSION} with Go (5 to 10 minutes on 2 cores, once) ...")
    with as_file(files("llmjobs_dev") / "kubernetes") as module:
        packages = {program: kubernetes_package(program) for program in PROGRAMS}
        build_programs(module, packages, folder, say, ldflags=version_flags())


def kubernetes_package(program: str) -> str:
    """Return the Go package of one of Kubernetes' programs, or etcd's."""
    if program == "etcd":
        return "go.etcd.io/etcd/server/v3"
    return f"k8s.io/kubernetes/cmd/{program}"


def version_flags() -> str:
    """Return the linker flags by which Kubernetes' programs know their version."""
    major, minor, _ = KUBERNETES_VERSION.split(".")
    stamp = "k8s.io/component-base/version"
    return (
        f"-X {stamp}.gitVersion=v{KUBERNETES_VERSION} -X {stamp}.gitMajor={major} "
        f"-X {stamp}.gitMinor={minor} -X {stamp}.gitTreeState=clean"
    )


def main() -> None:
    """``python -m llmjobs_dev.binaries``: have the programs ready, and say where they are."""

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    try:
        found = asyncio.run(fetch_binaries(say))
    except BinariesUnavailableError as error:
        sys.exit(str(error))
    say(f"Kubernetes programs: {found.folder} ({found.source})")


if __name__ == "__main__":
    main()
