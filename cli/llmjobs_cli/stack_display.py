"""How the local stack's state looks on a terminal, and in a log file."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmjobs_cli.supervisor import StackFailedError
from llmjobs_dev.state import StackState, Step


def show_start(console: Console, states: Iterable[StackState]) -> StackState:
    """Show each step once it ends, and what the running one is at; returns the ready state."""
    shown = 0
    said = ""
    last: StackState | None = None
    with console.status("Starting ...") as spinner:
        for state in states:
            last = state
            while shown < len(state.steps) and state.steps[shown].status != "running":
                _print_step(console, state.steps[shown])
                shown += 1
            if shown < len(state.steps):
                step = state.steps[shown]
                spinner.update(escape(f"{step.name} {step.detail}".strip()))
                if step.detail and step.detail != said and not console.is_terminal:
                    console.print(f"     {escape(step.detail)}", soft_wrap=True)
                said = step.detail
    if last is None:
        raise StackFailedError("the stack told nothing", "")
    return last


def _print_step(console: Console, step: Step) -> None:
    mark = "[green]ok[/]  " if step.status == "done" else "[red]no[/]  "
    seconds = "" if step.seconds is None else f"{step.seconds:5.1f} s"
    console.print(f"{mark} {escape(step.name):<22}{seconds}  {escape(step.detail)}", soft_wrap=True)


def show_status(console: Console, state: StackState) -> None:
    """Show where the stack is and what belongs to it."""
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = [
        ("phase", state.phase.value),
        ("gateway", state.gateway_url),
        ("metrics", state.exporter_url),
        ("redis", state.redis_url),
        ("kubeconfig", state.kubeconfig),
        ("logs", state.log_dir),
        ("error", state.error),
        *((name, f"process {pid}") for name, pid in sorted(state.pids.items())),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, escape(value))
    console.print(table, soft_wrap=True)


def show_what_to_try(console: Console, state: StackState, *, detached: bool) -> None:
    """Say what a newcomer can do now; every line works when pasted into a shell."""
    gateway, tools = state.gateway_url, Path(state.kubectl).parent
    body = (
        '{"endpoint": "/v1/completions", "model": "gemma-3-270m", '
        '"prompt": "The moon is", "maxTokens": 200}'
    )
    json_header = "-H 'Content-Type: application/json'"
    lines = [
        "",
        "[bold]Try next[/]",
        f"  export KUBECONFIG={state.kubeconfig} PATH={tools}:$PATH",
        "  kubectl get llm                       # pools and jobs: state, position, reason",
        "  kubectl describe lj twenty-places     # its conditions and Events",
        "  kubectl get pods -w                   # workers come with work and go when idle",
        f"  curl -s {gateway}/jobs {json_header} -d '{escape(body)}'",
        f"  curl -N {gateway}/jobs/ID/events      # its tokens, as they come",
        f"  curl -s {gateway}/jobs?state=Running",
        f"  open {gateway}/docs                   # the whole HTTP interface",
        "  llmjobs dev logs                      # what each part says",
    ]
    lines.append(
        "  make demo-down                        # stop it (llmjobs dev down)"
        if detached
        else "\nRunning. Press Ctrl-C to stop."
    )
    for line in lines:
        console.print(line, soft_wrap=True)
