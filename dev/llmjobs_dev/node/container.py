"""One container: its process, its probes and its restarts, until it is told to end."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmjobs_dev.node.pod_spec import (
    ConfigMissingError,
    ImageMissingError,
    Lookup,
    build_argv,
    build_env,
    is_sidecar,
    parse_probe,
)
from llmjobs_dev.node.pod_status import ContainerState, backoff_s, should_restart
from llmjobs_dev.node.probing import run_probe, watch_probe
from llmjobs_dev.process import Process, ProcessFailedError

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
_LOOK_AGAIN_S = 2.0
"""A missing Secret or ConfigMap is looked for again after this."""


def timestamp() -> str:
    """Return the time now as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ContainerRunner:
    """Runs one container of a pod; *changed* is called whenever its state is another."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        pod: Mapping[str, Any],
        *,
        pod_ip: str,
        is_init: bool,
        images: Mapping[str, Sequence[str]],
        log: Path,
        fetch_lookup: Callable[[], Awaitable[Lookup]],
        changed: Callable[[], None],
    ) -> None:
        self.state = ContainerState(
            name=spec["name"],
            image=spec.get("image", ""),
            is_init=is_init,
            is_sidecar=is_init and is_sidecar(spec),
        )
        self.started = asyncio.Event()
        """Set when the startup probe has passed (at once without one)."""
        self.log = log
        self._spec = spec
        self._pod = pod
        self._pod_ip = pod_ip
        self._images = images
        self._fetch_lookup = fetch_lookup
        self._changed = changed
        self._process: Process | None = None
        self._stopping = False

    async def run(self) -> None:
        """Run it, again and again as its policy says; returns when it has ended for good."""
        policy = self._pod["spec"].get("restartPolicy", "Always")
        crashes = 0
        while not self._stopping:
            began = asyncio.get_running_loop().time()
            if await self._run_once() and not should_restart(policy, self.state):
                return
            if self._stopping:
                return
            # A container that ran for a while has earned a quick restart.
            crashes = 0 if asyncio.get_running_loop().time() - began > 120 else crashes + 1
            if self.state.exit_code is not None and not self.state.waiting_reason:
                self.state.waiting_reason = "CrashLoopBackOff"
                self.state.waiting_message = f"back-off restarting container {self.state.name}"
                self._changed()
            await asyncio.sleep(backoff_s(crashes - 1))
            if self.state.exit_code is not None:
                self.state.restarts += 1

    async def _run_once(self) -> bool:
        """Run the process to its end; False if it could not be started."""
        state = self.state
        try:
            own = build_env(self._spec, self._pod, self._pod_ip, await self._fetch_lookup())
            inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
            argv = build_argv(self._spec, own, self._images)
            cwd = self._spec.get("workingDir")
            process = Process(
                state.name,
                argv,
                log=self.log,
                env={**inherited, **own},
                cwd=Path(cwd) if cwd else None,
            )
            await process.start()
        except ImageMissingError as error:
            self._wait_with("ErrImageNeverPull", str(error))
            return False
        except ConfigMissingError as error:
            self._wait_with("CreateContainerConfigError", str(error))
            await asyncio.sleep(_LOOK_AGAIN_S)
            return False
        except ProcessFailedError as error:
            self._wait_with("RunContainerError", str(error))
            return False
        self._process = process
        state.pid, state.started_at, state.waiting_reason = process.pid, timestamp(), ""
        state.waiting_message = ""
        probes = asyncio.create_task(self._watch(own))
        self._changed()
        try:
            code = await process.wait()
        finally:
            probes.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probes
            process.kill_group()
        state.exit_code, state.finished_at = code, timestamp()
        state.last_started_at, state.started_at, state.pid = state.started_at, "", 0
        state.ready = state.startup_passed = False
        self._process = None
        self._changed()
        return True

    def _wait_with(self, reason: str, message: str) -> None:
        self.state.waiting_reason, self.state.waiting_message = reason, message
        self._changed()

    async def _watch(self, env: Mapping[str, str]) -> None:
        """Run the startup probe, then readiness and liveness side by side."""

        async def check(name: str, tell: Callable[[bool], None]) -> None:
            probe = parse_probe(self._spec, name)
            if probe is None:
                tell(True)
                return
            await watch_probe(probe, lambda: run_probe(probe, self._spec, self._pod_ip, env), tell)

        passed = asyncio.Event()

        def startup(healthy: bool) -> None:
            if healthy:
                passed.set()
            else:
                self._kill_unhealthy()

        first = asyncio.create_task(check("startupProbe", startup))
        try:
            await passed.wait()
        finally:
            first.cancel()
        self.state.startup_passed = True
        self.started.set()
        self._changed()
        async with asyncio.TaskGroup() as group:
            group.create_task(check("readinessProbe", self._set_ready))
            group.create_task(
                check("livenessProbe", lambda ok: None if ok else self._kill_unhealthy())
            )

    def _set_ready(self, ready: bool) -> None:
        self.state.ready = ready
        self._changed()

    def _kill_unhealthy(self) -> None:
        if self._process is not None:
            self._process.kill_group()

    async def stop(self, grace_s: float) -> None:
        """End it: SIGTERM, and SIGKILL after *grace_s*; no restart follows."""
        self._stopping = True
        if self._process is not None:
            await self._process.stop(grace_s=max(0.0, grace_s))
