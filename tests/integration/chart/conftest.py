"""A control plane of its own for the charts: releases own the CRDs there."""

import itertools
from collections.abc import Iterator

import pytest

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.servers import ServerThread, start_control_plane

_numbers = itertools.count()


@pytest.fixture(scope="module")
def plane(
    server_thread: ServerThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    plane = start_control_plane(server_thread, tmp_path_factory.mktemp("charts"))
    yield plane
    server_thread.run(plane.stop())


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl in a new namespace that takes restricted pods only."""
    kubectl = Kubectl(plane, f"system-{next(_numbers)}")
    kubectl.create_namespace()
    for mode in ("enforce", "warn"):
        label = f"pod-security.kubernetes.io/{mode}=restricted"
        kubectl("label", "namespace", kubectl.namespace, label)
    return kubectl
