"""The local node runs what the scheduler binds to it, as a kubelet would."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.node import NodeAgent
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.servers import ServerThread

SERVE = ["-u", "-m", "http.server", "8080", "--bind", "$(POD_IP)"]
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


@pytest.fixture(scope="module")
def kubectl(
    control_plane: ControlPlane,
    server_thread: ServerThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kubectl]:
    agent = NodeAgent(
        control_plane,
        images={"python": [sys.executable]},
        log_dir=tmp_path_factory.mktemp("pod-logs"),
    )
    server_thread.run(agent.start())
    kubectl = Kubectl(control_plane, "node")
    kubectl.create_namespace()
    yield kubectl
    server_thread.run(agent.stop())


def pod(name: str, *args: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "python", "args": list(args), "env": [POD_IP]}
    container |= spec.pop("container", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "restartPolicy": "Never", **spec},
    }


def wait_for(kubectl: Kubectl, name: str, what: str) -> None:
    kubectl("wait", f"pod/{name}", f"--for={what}", "--timeout=60s")


def until(check: Callable[[], bool]) -> None:
    """Wait for what nothing can notify of: a process of a pod."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "it did not come true in 60 s"
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_pod_serves_at_its_own_address_when_ready(kubectl: Kubectl) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 60}
    kubectl.apply(pod("web", *SERVE, container={"readinessProbe": probe}))
    wait_for(kubectl, "web", "condition=Ready")
    assert kubectl.get("pod", "web")["status"]["podIP"].startswith("127.")


def test_ended_pod_tells_its_exit_code(kubectl: Kubectl) -> None:
    kubectl.apply(pod("fails", "-c", "raise SystemExit(3)"))
    wait_for(kubectl, "fails", "jsonpath={.status.phase}=Failed")
    status = kubectl.get("pod", "fails")["status"]["containerStatuses"][0]
    assert status["state"]["terminated"]["exitCode"] == 3


def test_logs_are_read_through_the_api_server(kubectl: Kubectl) -> None:
    kubectl.apply(pod("talks", "-c", "print('first'); print('second')"))
    wait_for(kubectl, "talks", "jsonpath={.status.phase}=Succeeded")
    assert kubectl("logs", "talks", "--tail=1") == "second\n"


def test_environment_comes_from_secrets_config_maps_and_fields(kubectl: Kubectl) -> None:
    kubectl("create", "secret", "generic", "keys", "--from-literal=key=hidden")
    kubectl("create", "configmap", "settings", "--from-literal=LEVEL=high")
    env = [
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "BOTH", "value": "$(NAME)-$(KEY)"},
    ]
    source = [{"configMapRef": {"name": "settings"}}]
    code = "import os; print(os.environ['BOTH'], os.environ['LEVEL'])"
    kubectl.apply(pod("env", "-c", code, container={"env": env, "envFrom": source}))
    wait_for(kubectl, "env", "jsonpath={.status.phase}=Succeeded")
    assert kubectl("logs", "env") == "env-hidden high\n"


def test_deletion_sends_sigterm_and_gives_time(kubectl: Kubectl) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))\n"
        "time.sleep(600)"
    )
    kubectl.apply(pod("patient", "-c", code))
    wait_for(kubectl, "patient", "jsonpath={.status.phase}=Running")
    began = time.monotonic()
    kubectl("delete", "pod", "patient", "--grace-period=20", "--timeout=60s")
    assert 0.9 < time.monotonic() - began < 20


def test_forced_deletion_kills_at_once(kubectl: Kubectl) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    kubectl.apply(pod("stubborn", "-c", code))
    wait_for(kubectl, "stubborn", "jsonpath={.status.phase}=Running")
    status = kubectl.get("pod", "stubborn")["status"]["containerStatuses"][0]
    pid = int(status["containerID"].removeprefix("process://"))
    kubectl("delete", "pod", "stubborn", "--force", "--grace-period=0")
    until(lambda: not is_alive(pid))


def test_crashing_container_is_restarted_and_says_so(kubectl: Kubectl) -> None:
    kubectl.apply(pod("crashes", "-c", "raise SystemExit(1)", restartPolicy="Always"))
    wait_for(
        kubectl,
        "crashes",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
    )
    until(
        lambda: kubectl.get("pod", "crashes")["status"]["containerStatuses"][0]["restartCount"] > 1
    )


def test_missing_image_waits_with_its_reason(kubectl: Kubectl) -> None:
    kubectl.apply(pod("unknown", container={"image": "no/such:image"}))
    wait_for(
        kubectl,
        "unknown",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull",
    )


def test_missing_secret_waits_until_it_is_there(kubectl: Kubectl) -> None:
    ref = {"secretKeyRef": {"name": "late", "key": "k"}}
    env = [{"name": "K", "valueFrom": ref}]
    kubectl.apply(pod("late", "-c", "pass", container={"env": env}, restartPolicy="OnFailure"))
    wait_for(
        kubectl,
        "late",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
    )
    kubectl("create", "secret", "generic", "late", "--from-literal=k=v")
    wait_for(kubectl, "late", "jsonpath={.status.phase}=Succeeded")


def test_failing_liveness_probe_restarts_the_container(kubectl: Kubectl) -> None:
    probe = {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1}
    body = pod("sick", "-c", "import time; time.sleep(600)", restartPolicy="Always")
    body["spec"]["containers"][0]["livenessProbe"] = probe
    kubectl.apply(body)
    until(lambda: kubectl.get("pod", "sick")["status"]["containerStatuses"][0]["restartCount"] > 0)


def test_sidecar_runs_before_the_rest_and_ends_after_it(kubectl: Kubectl, tmp_path: Path) -> None:
    log = tmp_path / "order"

    def step(name: str) -> str:
        return (
            "import signal, sys, time\n"
            f"say = lambda word: open({str(log)!r}, 'a').write({name!r} + word + '\\n')\n"
            "signal.signal(signal.SIGTERM, lambda *_: (say(' ends'), sys.exit(0)))\n"
            "say(' runs')\ntime.sleep(600)"
        )

    body = pod("pair", "-c", step("main"), restartPolicy="Always")
    check = ["python3", "-c", f"open({str(log)!r})"]
    body["spec"]["initContainers"] = [
        {
            "name": "side",
            "image": "python",
            "args": ["-c", step("side")],
            "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": check}, "periodSeconds": 1, "failureThreshold": 60}
            | {"timeoutSeconds": 10},
        }
    ]
    kubectl.apply(body)
    until(lambda: log.exists() and "main runs" in log.read_text())
    kubectl("delete", "pod", "pair", "--timeout=60s")
    assert log.read_text().split("\n")[:4] == ["side runs", "main runs", "main ends", "side ends"]


def test_deployment_scaled_to_zero_ends_its_processes(kubectl: Kubectl) -> None:
    labels = {"app": "scaled"}
    template = pod("x", *SERVE)["spec"] | {"restartPolicy": "Always"}
    kubectl.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "scaled"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template},
            },
        }
    )
    kubectl("wait", "deployment/scaled", "--for=condition=Available", "--timeout=60s")
    pods = json.loads(kubectl("get", "pods", "-l", "app=scaled", "-o", "json"))["items"]
    pids = [
        int(one["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
        for one in pods
    ]
    assert all(is_alive(pid) for pid in pids)
    kubectl("scale", "deployment/scaled", "--replicas=0")
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_pods_outlive_a_restart_of_the_api_server(
    kubectl: Kubectl, control_plane: ControlPlane, server_thread: ServerThread
) -> None:
    kubectl.apply(pod("survivor", *SERVE))
    wait_for(kubectl, "survivor", "jsonpath={.status.phase}=Running")
    server_thread.run(control_plane.restart_api_server())
    kubectl.apply(pod("later", "-c", "pass"))
    wait_for(kubectl, "later", "jsonpath={.status.phase}=Succeeded")
    assert kubectl.get("pod", "survivor")["status"]["phase"] == "Running"
