"""Build the images with whatever builder this machine has, and an SBOM beside each.

``make images`` builds all but vLLM's (9 GB). The tag is the version in pyproject.toml. A builder
sees nothing of the machine but its network; what it should see besides (a private CA, say) goes
into ``--option``, and never into an image.
"""

import argparse
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SBOMS = ROOT / "dist"
_BUILDERS = {
    "docker": ["docker", "build"],
    "podman": ["podman", "build"],
    "buildah": ["buildah", "build", "--layers"],
}


@dataclass(frozen=True, slots=True)
class Image:
    """One target of a Dockerfile."""

    name: str
    dockerfile: str
    target: str
    extras: tuple[str, ...]
    """What of uv.lock is inside: the SBOM's components."""


IMAGES = {
    "api": Image("llmjobs", "Dockerfile.api", "", ("operator", "api")),
    "worker": Image("llmjobs-worker", "Dockerfile.worker", "worker", ("worker",)),
    "llama": Image("llmjobs-llama", "Dockerfile.worker", "llama", ("llama",)),
    "vllm": Image("llmjobs-vllm", "Dockerfile.worker", "vllm", ("vllm",)),
}


def main() -> None:
    """Build what the arguments name; exits with 1 where that can't be done."""
    parser = argparse.ArgumentParser(prog="make images", description="Build the images")
    parser.add_argument("images", nargs="*", default=["api", "worker", "llama"], metavar="IMAGE",
                        help=f"some of {', '.join(IMAGES)}")  # fmt: skip
    parser.add_argument("--registry", default="", help="put in front of the names: ghcr.io/me/")
    parser.add_argument("--base", default="", help="a base image with Python 3.11 or newer")
    parser.add_argument("--builder", choices=_BUILDERS, help="the first there is, when not given")
    parser.add_argument("--option", action="append", default=[], help="passed to the builder")
    options = parser.parse_args()
    unknown = set(options.images) - IMAGES.keys()
    if unknown:
        parser.error(f"no image {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    builder = options.builder or next(filter(shutil.which, _BUILDERS), None)
    if builder is None:
        raise SystemExit(f"none of {', '.join(_BUILDERS)} is installed")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in options.images:
        image = IMAGES[name]
        tag = f"{options.registry}{image.name}:{version}"
        argv = [*_BUILDERS[builder], *build_arguments(image, version, options.base)]
        run([*argv, *options.option, "--tag", tag, "."])
        write_sbom(image, SBOMS / f"{image.name}-{version}.cdx.json")
        print(tag)


def build_arguments(image: Image, version: str, base: str) -> list[str]:
    """Return what every builder understands."""
    arguments = ["--file", image.dockerfile, "--build-arg", f"VERSION={version}"]
    arguments += ["--build-arg", f"REVISION={fetch_revision()}"]
    if image.target:
        arguments += ["--target", image.target]
    if base:
        arguments += ["--build-arg", f"BASE={base}"]
    return arguments


def fetch_revision() -> str:
    """Return the commit that is checked out, marked where files were changed since."""
    argv = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.check_output(argv, cwd=ROOT, text=True).strip()


def write_sbom(image: Image, path: Path) -> None:
    """Write the Python packages of *image* as CycloneDX; the base image has its own."""
    path.parent.mkdir(exist_ok=True)
    argv = [str(ROOT / ".tools" / "bin" / "uv"), "export", "--quiet", "--frozen"]
    argv += ["--no-default-groups", "--format", "cyclonedx1.5", "--output-file", str(path)]
    for extra in image.extras:
        argv += ["--extra", extra]
    run([*argv, "--preview-features", "sbom-export"], stdout=subprocess.DEVNULL)


def run(argv: list[str], stdout: int | None = None) -> None:
    """Run a program in the checkout; exits with its status where it fails."""
    done = subprocess.run(argv, cwd=ROOT, check=False, stdout=stdout)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
