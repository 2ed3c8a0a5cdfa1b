"""Kubeconfig files of the local control plane; no other kubeconfig is ever read or written."""

import base64
from pathlib import Path

import yaml

from llmjobs_dev.certificates import KeyPair

CONTEXT = "llmjobs-dev"


def write_kubeconfig(
    path: Path, *, server: str, authority: Path, pair: KeyPair, namespace: str = "default"
) -> None:
    """Write a self-contained kubeconfig that only its owner can read."""

    def encoded(source: Path) -> str:
        return base64.b64encode(source.read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {"server": server, "certificate-authority-data": encoded(authority)},
            }
        ],
        "users": [
            {
                "name": CONTEXT,
                "user": {
                    "client-certificate-data": encoded(pair.certificate),
                    "client-key-data": encoded(pair.key),
                },
            }
        ],
        "contexts": [
            {
                "name": CONTEXT,
                "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": namespace},
            }
        ],
    }
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(yaml.safe_dump(config), encoding="utf-8")
    part.replace(path)
