"""Loopback addresses for pods: a block for each node, so that several stacks share a machine."""

import socket
from collections.abc import Container

FIRST_BLOCK, BLOCKS = 64, 62
"""Blocks are 127.64.0.0/16 to 127.125.0.0/16; a block has 65,000 addresses."""
_LOCK_PORT = 47_777
"""Bound on a block's own address 255.254 for as long as the block is used (arbitrary)."""


class NoFreeBlockError(RuntimeError):
    """All blocks are taken: that many local stacks run on this machine."""


class PodAddresses:
    """One block, held until `release` or the end of this process."""

    def __init__(self) -> None:
        """Take the first block that no other node of this machine has."""
        self._last = 0
        for block in range(FIRST_BLOCK, FIRST_BLOCK + BLOCKS):
            lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                lock.bind((f"127.{block}.255.254", _LOCK_PORT))
            except OSError:
                lock.close()
                continue
            self._block, self._lock = block, lock
            return
        raise NoFreeBlockError(f"all {BLOCKS} blocks of pod addresses are in use")

    def pick(self, taken: Container[str]) -> str:
        """Return the next address that is not in *taken*."""
        while True:
            self._last = self._last % 65_000 + 1
            address = f"127.{self._block}.{self._last >> 8}.{self._last & 255}"
            if address not in taken:
                return address

    def release(self) -> None:
        """Give the block back; harmless when repeated."""
        self._lock.close()
