"""What `helm test` runs: one small job through a door, with the pod's own account.

Needs nothing but the standard library. TEST says which: health, http-job or llmjob.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACCOUNT = Path(os.environ.get("ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"))
GATEWAY = os.environ["GATEWAY"]
NAMESPACE = os.environ["NAMESPACE"]
POOL = os.environ["POOL"]
DEADLINE_S = time.monotonic() + float(os.environ["TIMEOUT_S"])
BODY = {"prompt": "Say hello.", "max_tokens": 8}


def call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """Call with the account's token; tries again while the other side is not there."""
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    headers |= {"Content-Type": "application/json"} if body is not None else {}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10, context=tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.read(2000).decode(errors='replace')}"
            if error.code < 500:
                sys.exit(f"{method} {url}: {problem}")
        except OSError as error:
            problem = str(error)
        if time.monotonic() > DEADLINE_S:
            sys.exit(f"{method} {url}: {problem}")
        time.sleep(1)


def wait_for(look: Callable[[], tuple[bool, str]]) -> None:
    """Look every second until it ended, and say what changes; exits with 1 at the deadline."""
    said = ""
    while True:
        ended, text = look()
        if text != said:
            print(text, flush=True)
            said = text
        if ended:
            return
        if time.monotonic() > DEADLINE_S:
            sys.exit("it did not end in time")
        time.sleep(1)


def test_health() -> None:
    """The gateway is ready: it answers, and reaches the store."""
    print(call("GET", f"{GATEWAY}/health"))


def test_http_job() -> None:
    """A job that is submitted by HTTP succeeds."""
    wish = {
        "namespace": NAMESPACE,
        "pool": POOL,
        "endpoint": "/v1/completions",
        "body": BODY,
    }
    job = call("POST", f"{GATEWAY}/jobs", wish)
    where = f"{GATEWAY}/jobs/{job['id']}"

    def look() -> tuple[bool, str]:
        now = call("GET", where)
        state = str(now["state"]).lower()
        if state in {"failed", "cancelled", "expired"}:
            sys.exit(f"{state}: {now['reason']}: {now['message']}")
        return state == "succeeded", f"{state}: {now['reason']} {now['message']}"

    wait_for(look)


def test_llmjob() -> None:
    """An LLMJob that is given to the API server succeeds."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    jobs = f"https://{host}:{port}/apis/llmjobs.dev/v1alpha1/namespaces/{NAMESPACE}/llmjobs"
    wish = {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMJob",
        "metadata": {"generateName": "helm-test-"},
        "spec": {
            "poolRef": {"name": POOL},
            "ttlSecondsAfterFinished": 300,
            "request": {"endpoint": "/v1/completions", "body": BODY},
        },
    }
    name = call("POST", jobs, wish)["metadata"]["name"]

    def look() -> tuple[bool, str]:
        status = call("GET", f"{jobs}/{name}").get("status") or {}
        found = {item["type"]: item for item in status.get("conditions") or []}
        text = f"{status.get('phase', 'new')}: {status.get('reason', '')}"
        finished = found.get("Finished", {})
        if finished.get("status") != "True":
            return False, text
        if finished.get("reason") != "Succeeded":
            sys.exit(f"{text}: {finished.get('message', '')}")
        return True, text

    wait_for(look)


if __name__ == "__main__":
    {"health": test_health, "http-job": test_http_job, "llmjob": test_llmjob}[os.environ["TEST"]]()
    print("passed")
