"""One stack a data folder: a lock that the kernel gives back however its holder ends."""

import fcntl
from pathlib import Path
from typing import IO

ALREADY_RUNS = 3
"""The exit code of a supervisor that finds another at work."""


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter: prompts and keys lie in it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


def try_lock(data_dir: Path) -> IO[str] | None:
    """Return the held lock of the stack in *data_dir*, None if a running stack holds it.

    Close it, or end, to give it back.
    """
    make_private(data_dir)
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
