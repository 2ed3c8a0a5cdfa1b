"""Running probes: HTTP, TCP and exec, against a process on its pod's address."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from llmjobs_dev.node.pod_spec import Probe, expand


def resolve_port(container: Mapping[str, Any], port: int | str) -> int:
    """Return a port number, looking a name up among the container's ports; 0 if unknown."""
    if isinstance(port, int):
        return port
    for item in container.get("ports") or []:
        if item.get("name") == port:
            return int(item["containerPort"])
    return int(port) if port.isdigit() else 0


async def run_probe(
    probe: Probe, container: Mapping[str, Any], pod_ip: str, env: Mapping[str, str]
) -> bool:
    """Return whether the probe passes once, within its timeout."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if probe.kind == "httpGet":
                return await _probe_http(probe, container, pod_ip)
            if probe.kind == "tcpSocket":
                port = resolve_port(container, probe.target["port"])
                _, writer = await asyncio.open_connection(probe.target.get("host") or pod_ip, port)
                writer.close()
                return True
            return await _probe_exec(probe, env)
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


async def _probe_http(probe: Probe, container: Mapping[str, Any], pod_ip: str) -> bool:
    target = probe.target
    scheme = str(target.get("scheme", "HTTP")).lower()
    port = resolve_port(container, target["port"])
    url = f"{scheme}://{target.get('host') or pod_ip}:{port}{target.get('path', '/')}"
    headers = {item["name"]: item["value"] for item in target.get("httpHeaders") or []}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
    ):
        return 200 <= response.status < 400


async def _probe_exec(probe: Probe, env: Mapping[str, str]) -> bool:
    argv = [expand(part, env) for part in probe.target["command"]]
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(env),
    )
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


async def watch_probe(
    probe: Probe, check: Callable[[], Awaitable[bool]], tell: Callable[[bool], None]
) -> None:
    """Probe for ever, and *tell* whenever the threshold for a change of verdict is reached.

    The first verdict is told once a threshold is reached; it runs until cancelled.
    """
    await asyncio.sleep(probe.delay_s)
    passed = failed = 0
    verdict: bool | None = None
    while True:
        if await check():
            passed, failed = passed + 1, 0
            if passed >= probe.successes and verdict is not True:
                verdict = True
                tell(True)
        else:
            passed, failed = 0, failed + 1
            if failed >= probe.failures and verdict is not False:
                verdict = False
                tell(False)
        await asyncio.sleep(probe.period_s)
