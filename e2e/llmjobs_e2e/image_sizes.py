"""How much an image brings besides its base: what a node pulls for each version."""

import json
import tarfile
from pathlib import Path
from typing import IO

from llmjobs_e2e.image_builds import read_version

_MODEL = ".gguf"
_BASE = "llmjobs-e2e-pause-0"
"""The base, and nothing else."""


def measure_over_base(name: str, archives: list[Path]) -> float:
    """Return the size of an image's files over its base's, in MB, without model weights.

    *archives* are those of `build_archives`. Raises StopIteration for an image that is not there.
    """
    base_path, image_path = _find(archives, _BASE), _find(archives, f"{name}-{read_version()}")
    with tarfile.open(base_path) as base, tarfile.open(image_path) as image:
        added = [layer for layer in _list_layers(image) if layer not in _list_layers(base)]
        return sum(_measure(_open(image, layer)) for layer in added) / 1e6


def _find(archives: list[Path], image: str) -> Path:
    return next(path for path in archives if path.name.startswith(f"{image}-"))


def _list_layers(image: tarfile.TarFile) -> list[str]:
    (manifest,) = json.load(_open(image, "manifest.json"))
    return list(manifest["Layers"])


def _measure(layer: IO[bytes]) -> int:
    with tarfile.open(fileobj=layer) as files:
        return sum(file.size for file in files if not file.name.endswith(_MODEL))


def _open(image: tarfile.TarFile, member: str) -> IO[bytes]:
    found = image.extractfile(member)
    assert found is not None, f"{member} is no file"
    return found
