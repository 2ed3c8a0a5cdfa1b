"""``make bench``: measures the rows, prints them, and writes the results and the document.

Exits with 1 when a bound is missed or a row did not end, with 130 when it was interrupted.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from llmjobs_bench.figures import Figure, SelfCheckFailed
from llmjobs_bench.machine import fetch_machine
from llmjobs_bench.report import (
    Measured,
    build_results,
    explain_failure,
    render,
    render_rows,
    render_summary,
)
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows import ROWS
from llmjobs_core.errors import LLMJobsError
from llmjobs_dev.process import ProcessFailedError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results" / "latest.json"
_FAILURES = (SelfCheckFailed, LLMJobsError, ProcessFailedError, AssertionError, OSError)
"""What a row ends by when its work is not done right, or not in time (AssertionError)."""


def main() -> None:
    """Measure, report, exit."""
    options = parse_options(sys.argv[1:])
    if options.list:
        print(render_rows(ROWS))
        return
    logging.disable(logging.INFO)
    measured: list[Measured] = []
    try:
        asyncio.run(measure_all(options, measured))
    except KeyboardInterrupt:
        say("interrupted; every process has ended")
        sys.exit(130)
    finally:
        print(f"\n{render_summary(measured)}", flush=True)
    sys.exit(0 if all(is_passed(one, options.quick) for one in measured) else 1)


def is_passed(measured: Measured, is_quick: bool) -> bool:
    """Whether the row is as it should be; the figures of a quick run say nothing."""
    return not measured.failure if is_quick else measured.is_met


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Return the options; argparse exits where they are wrong."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="make bench", description="Measure llmjobs")
    parser.add_argument("--list", action="store_true", help="say what is measured, and end")
    parser.add_argument("--only", action="append", choices=names, help="may be given again")
    parser.add_argument("--runs", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run; writes nothing")
    parser.add_argument("--dry", action="store_true", help="full sizes, but write nothing")
    parser.add_argument("--folder", type=Path, help="keep logs and data here")
    options = parser.parse_args(argv)
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    return options


async def measure_all(options: argparse.Namespace, measured: list[Measured]) -> None:
    """Measure the rows one after the other; adds each to *measured* as it ends."""
    folder = options.folder or Path(tempfile.mkdtemp(prefix="llmjobs-bench-"))
    say(f"logs in {folder}")
    for row in ROWS:
        if options.only and row.name not in options.only:
            continue
        say(f"--- {row.name}: {row.title}")
        runs = 1 if options.quick else max(options.runs, row.runs_min)
        one = await measure(row, Stage(folder / row.name, runs, options.quick, say))
        measured.append(one)
        for figure in one.figures:
            say(f"{'ok  ' if figure.is_met else 'MISS'} {figure}")
        say(
            f"{row.name} took {one.took_s:.0f} s{f'; FAILED: {one.failure}' if one.failure else ''}"
        )
        if not options.quick and not options.dry:
            write_report(one)


async def measure(row: Row, stage: Stage) -> Measured:
    """Measure one row; a row that does not end, or checks itself in vain, has failed.

    One that fails in a way nobody thought of has failed too, with a trace of where: it is no
    reason to measure nothing else.
    """
    stage.folder.mkdir(parents=True, exist_ok=True)
    began_s = time.perf_counter()
    (ended,) = await asyncio.gather(row.measure(stage), return_exceptions=True)
    took_s = time.perf_counter() - began_s
    if not isinstance(ended, BaseException):
        return Measured(row, ended, took_s)
    if not isinstance(ended, _FAILURES):
        traceback.print_exception(ended)
    figures: Sequence[Figure] = ()
    return Measured(row, figures, took_s, explain_failure(ended))


def write_report(measured: Measured) -> None:
    """Put one row into the results and the document; the others stay as they are."""
    machine = fetch_machine()
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results = build_results(before, [measured], machine)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    order = [row.name for row in ROWS]
    DOCUMENT.write_text(render(document, [measured], machine, order), encoding="utf-8")


def say(text: str) -> None:
    """Print a line at once, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
