"""One stack a data folder: a lock that the kernel gives back however its holder ends."""

import fcntl
from pathlib import Path
from typing import IO


def try_lock(data_dir: Path) -> IO[str] | None:
    """Return the held lock of the stack in *data_dir*, None if a running stack holds it.

    Close it, or end, to give it back.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (data_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def is_locked(data_dir: Path) -> bool:
    """Return whether a stack runs in *data_dir*."""
    if not (data_dir / "lock").exists():
        return False
    lock = try_lock(data_dir)
    if lock is None:
        return True
    lock.close()
    return False
