"""Where the manifests are: in the installed package, or in the source tree."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def find_manifests() -> Path:
    """Return the folder with ``crds`` and ``examples``; raises FileNotFoundError."""
    for folder in (_HERE / "manifest_files", _HERE.parent.parent / "manifests"):
        if (folder / "crds").is_dir():
            return folder
    raise FileNotFoundError("the manifests of llmjobs are not installed beside llmjobs_dev")
