"""Kopf on a real API server: it may end by itself, and must be seen again."""

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from llmjobs_core.tasks import end_tasks
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_operator.objects import Kind
from llmjobs_operator.watching import watch
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import build_job, build_pool
from llmjobs_testing.servers import ServerThread
from llmjobs_testing.waiting import eventually


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[RuntimeError]:
    """Errors, each of which the next watch of pods dies of."""
    errors: list[RuntimeError] = []
    request = aiohttp.ClientSession.request

    async def fail_or_request(self: aiohttp.ClientSession, *args: Any, **options: Any) -> Any:
        url = str(options.get("url", ""))
        if errors and "/pods" in url and "watch=true" in url:
            raise errors.pop()
        return await request(self, *args, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", fail_or_request)
    return errors


@pytest.fixture
async def seen(plane: ControlPlane, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The names that a watch of the test's namespace has told of."""
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    names: set[str] = set()

    def see(kind: Kind, event: Any) -> None:
        names.add(f"{kind}/{event['object']['metadata']['name']}")

    stop = asyncio.Event()
    watching = asyncio.create_task(watch(see, [kubectl.namespace], stop, identity="test"))
    yield names
    stop.set()
    await asyncio.wait_for(watching, 10)
    left = [task.get_name() for task in asyncio.all_tasks() if "watcher for" in task.get_name()]
    assert left == []


async def test_an_error_in_one_watch_while_the_api_server_restarts_ends_no_watch_for_good(
    seen: set[str],
    failing: list[RuntimeError],
    plane: ControlPlane,
    kubectl: Kubectl,
    server_thread: ServerThread,
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await eventually(lambda: f"{Kind.JOB}/a" in seen, what="job a to be seen")
    ours = asyncio.create_task(asyncio.Event().wait())  # younger than Kopf, and none of its tasks
    failing.append(RuntimeError("scripted"))
    await asyncio.to_thread(server_thread.run, plane.restart_api_server())
    await eventually(lambda: not failing, what="the watch of pods to fail", timeout_s=30)
    await asyncio.to_thread(kubectl.apply, build_job("b"))
    await eventually(lambda: f"{Kind.JOB}/b" in seen, what="job b to be seen", timeout_s=30)
    watchers = Counter(task.get_name() for task in asyncio.all_tasks())
    assert {count for name, count in watchers.items() if "watcher for" in name} == {1}
    assert not ours.done()
    await end_tasks([ours])
