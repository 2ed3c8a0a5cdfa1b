"""The embedded control plane is a real one."""

import subprocess

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.servers import ServerThread


def kubectl(plane: ControlPlane, *args: str, stdin: str = "") -> str:
    done = subprocess.run(
        [plane.kubectl, "--kubeconfig", str(plane.kubeconfig), *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_objects_are_stored_and_read_back(control_plane: ControlPlane) -> None:
    kubectl(control_plane, "create", "namespace", "stored")
    assert "stored" in kubectl(control_plane, "get", "namespaces", "-o", "name")


def test_authorisation_refuses_a_user_without_rights(control_plane: ControlPlane) -> None:
    command = [control_plane.kubectl, "--kubeconfig", str(control_plane.kubeconfig)]
    command += ["auth", "can-i", "create", "pods", "--as", "nobody"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.strip() == "no"


def test_objects_survive_a_killed_api_server(
    control_plane: ControlPlane, server_thread: ServerThread
) -> None:
    kubectl(control_plane, "create", "namespace", "survivor")
    server_thread.run(control_plane.restart_api_server())
    assert "survivor" in kubectl(control_plane, "get", "namespaces", "-o", "name")


def test_deployments_get_their_replica_sets(control_plane: ControlPlane) -> None:
    kubectl(control_plane, "create", "namespace", "deploys")
    kubectl(control_plane, "-n", "deploys", "create", "deployment", "web", "--image=x")
    kubectl(
        control_plane, "-n", "deploys", "wait", "deployment/web", "--timeout=60s",
        "--for=jsonpath={.status.replicas}=1",
    )  # fmt: skip
