"""``python -m llmjobs_dev DATA_DIR``: runs the stack until SIGTERM or SIGINT.

The command line starts it in a session of its own and reads the state file that it writes.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import structlog

from llmjobs_core.logs import LogFormat, configure_logging
from llmjobs_dev.binaries import BinariesUnavailableError
from llmjobs_dev.lock import ALREADY_RUNS, try_lock
from llmjobs_dev.node.api import ApiError
from llmjobs_dev.process import ProcessFailedError, die_with_parent
from llmjobs_dev.stack import Stack
from llmjobs_dev.state import Phase, StackState, supervisor_log, write_state

_log = structlog.get_logger(__name__)


async def run_stack(data_dir: Path) -> int:
    """Run the stack in *data_dir* until a signal; returns the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state = StackState(
        supervisor_pid=os.getpid(), data_dir=str(data_dir), log_dir=str(data_dir / "logs")
    )
    stack = Stack(data_dir, state)
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(stack.start())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failed = ""
    if starting.done() and (error := starting.exception()) is not None:
        failed = str(error)
        expected = (ProcessFailedError, BinariesUnavailableError, ApiError, OSError)
        _log.error(
            "start_failed", error=failed, exc_info=None if isinstance(error, expected) else error
        )
        state.error = failed
        log = getattr(error, "log", None)
        state.error_log = str(log or supervisor_log(data_dir))
    elif not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    else:
        await stopping
    await stack.stop()
    state.phase = Phase.FAILED if failed else Phase.STOPPED
    state.pids = {}
    write_state(state)
    return 1 if failed else 0


def main() -> None:
    """Run the stack; see the module."""
    parser = argparse.ArgumentParser(prog="python -m llmjobs_dev", description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--with-parent", action="store_true", help="end when the parent ends")
    options = parser.parse_args()
    parent = os.getppid()
    if options.with_parent:
        die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the parent has ended")
    lock = try_lock(options.data_dir)
    if lock is None:
        sys.exit(ALREADY_RUNS)
    configure_logging(LogFormat.CONSOLE, "info")
    code = asyncio.new_event_loop().run_until_complete(run_stack(options.data_dir.resolve()))
    # A Go build runs in a thread that can't be cancelled: its processes end with this one.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
