"""The images of the end-to-end run, built once for each state of their sources.

Each is an archive in the user's cache, named by a digest of what it was built from. Nothing is
pushed anywhere. What a builder needs of this machine (a private CA, say) is in E2E_BUILD_OPTIONS
and gets into no image.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmjobs_dev.binaries import default_cache_dir
from llmjobs_dev.go_build import Say, exclusive
from llmjobs_e2e.builder import BASE, DOCKERFILES, ROOT, Builder

NEXT_TAG = "next"
"""Another version of the product's images, for upgrades."""
_PRODUCT = (
    "pyproject.toml", "uv.lock", "README.md", "LICENSE", "Dockerfile.api", "Dockerfile.worker",
    "tools/install_uv.py", "tools/build_images.py", "core", "operator", "api", "worker", "cli",
    "dev", "manifests",
)  # fmt: skip
_VLLM = (
    "uv.lock", "tools/install_uv.py", "tools/install_vllm.py", "tests/vllm/requirements.txt",
    "tests/vllm/make_model.py",
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
    """Return the images that a node has from its start."""
    version = read_version()
    product = tuple(ROOT / name for name in _PRODUCT)
    support = ROOT / "tests" / "support" / "llmjobs_testing"
    page = (support / "vllm_page.py", support / "vllm_metrics.txt")
    engine = (DOCKERFILES / "Dockerfile.engine", *support.glob("engine*.py"), *page)
    valkey = (DOCKERFILES / "Dockerfile.valkey", DOCKERFILES / "valkey-cli")
    return [
        BuiltImage("llmjobs-e2e-pause", "0", ()),
        BuiltImage("llmjobs-e2e-valkey", "0", (*valkey, ROOT / "uv.lock")),
        BuiltImage("llmjobs", version, product),
        BuiltImage("llmjobs-worker", version, product),
        BuiltImage("llmjobs-llama", version, tuple(ROOT / name for name in _LLAMA)),
        BuiltImage("llmjobs-e2e-engine", "0", (*product, *engine)),
        BuiltImage("llmjobs", NEXT_TAG, product),
        BuiltImage("llmjobs-worker", NEXT_TAG, product),
    ]


def find_vllm() -> BuiltImage:
    """Return a real vLLM for CPUs with a tiny model: 5 GB, for the scenario that wants it."""
    sources = (DOCKERFILES / "Dockerfile.vllm", *(ROOT / name for name in _VLLM))
    return BuiltImage("llmjobs-e2e-vllm", "0", sources)


def digest_sources(paths: tuple[Path, ...]) -> str:
    """Return a digest of the files' names and content."""
    digest = hashlib.sha256(BASE.encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def build_archives(say: Say, images: Sequence[BuiltImage] | None = None) -> list[Path]:
    """Return an archive for each image, built where its sources changed since.

    *images* are the node's, unless given. Raises ProgramsMissingError where the machine lacks a
    builder, RuntimeError where one fails.
    """
    folder = default_cache_dir() / "images"
    with exclusive(folder / "archives", say):
        wanted = {image: _archive(folder, image) for image in images or list_images()}
        missing = [image for image, path in wanted.items() if not path.exists()]
        if missing:
            builder = Builder(folder, say, digest_sources(()))
            build(builder, [image.name for image in missing])
            for image in missing:
                builder.export(image.local, wanted[image], image.node_name)
            _remove_outdated(folder)
    return list(wanted.values())


def build(builder: Builder, names: list[str]) -> None:
    """Build the images of these names, base first."""
    version = read_version()
    base = builder.build_base()
    product = {"llmjobs": "api", "llmjobs-worker": "worker", "llmjobs-llama": "llama"}
    if "llmjobs-e2e-engine" in names:
        names = [*names, "llmjobs-worker"]
    builder.build_product([short for name, short in product.items() if name in names], base)
    for name in ("llmjobs", "llmjobs-worker"):
        if name in names:
            builder.label(f"localhost/{name}:{version}", f"localhost/{name}:{NEXT_TAG}")
    if "llmjobs-e2e-pause" in names:
        builder.commit(base, "localhost/llmjobs-e2e-pause:0", "--cmd", "/bin/sleep infinity")
    if "llmjobs-e2e-valkey" in names:
        builder.build_valkey(base)
    if "llmjobs-e2e-engine" in names:
        worker = f"localhost/llmjobs-worker:{version}"
        builder.build_small("engine", worker, ROOT / "tests" / "support")
    if "llmjobs-e2e-vllm" in names:
        builder.build_vllm(base, _VLLM)


def _archive(folder: Path, image: BuiltImage) -> Path:
    return folder / f"{image.name}-{image.tag}-{digest_sources(image.sources)}.tar"


def _remove_outdated(folder: Path) -> None:
    current = {_archive(folder, image) for image in (*list_images(), find_vllm())}
    for path in folder.glob("*.tar"):
        if path not in current:
            path.unlink()
