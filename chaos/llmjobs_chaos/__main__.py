"""``make chaos``: plays the scenarios, says what happens, writes the report.

Exits with 1 when a bound is missed or an invariant does not hold; the seed it prints plays the
same faults again.
"""

import argparse
import asyncio
import secrets
import sys
import time
from pathlib import Path

from llmjobs_chaos.circumstances import fetch_circumstances
from llmjobs_chaos.player import Player
from llmjobs_chaos.report import Played, render
from llmjobs_chaos.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"


def main() -> None:
    """Play, report, exit."""
    options = parse_options(sys.argv[1:])
    chosen = [s for s in SCENARIOS if not options.only or s.name in options.only]
    played = asyncio.run(play_all(options, [scenario.name for scenario in chosen]))
    failed = [one.scenario.name for one in played if not one.outcome.is_passed]
    say(f"{len(played) - len(failed)} of {len(played)} met")
    if failed:
        say(f"missed: {', '.join(failed)}; again with --seed {options.seed}")
        sys.exit(1)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Return the options; argparse exits where they are wrong."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="make chaos", description="Break everything, on purpose")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--only", action="append", choices=names, help="may be given again")
    parser.add_argument("--short", action="store_true", help="small sizes; writes no report")
    parser.add_argument("--dry", action="store_true", help="full sizes, but write no report")
    parser.add_argument("--folder", type=Path, help="keep logs, journals and data here")
    options = parser.parse_args(argv)
    if options.folder is not None and options.folder.is_dir() and any(options.folder.iterdir()):
        # A store that holds an earlier run's jobs can't be recounted.
        parser.error(f"--folder {options.folder} is not empty")
    return options


async def play_all(options: argparse.Namespace, names: list[str]) -> list[Played]:
    """Play the scenarios one after the other."""
    played = []
    player = Player(folder=options.folder, seed=options.seed, is_short=options.short, say=say)
    say(f"seed {options.seed}; logs in {player.folder}")
    for scenario in SCENARIOS:
        if scenario.name in names:
            say(f"--- {scenario.name}: {scenario.title}")
            one = await player.play(scenario)
            played.append(one)
            for figure in one.outcome.figures:
                say(f"{'ok  ' if figure.is_met else 'MISS'} {figure}")
            say(f"{scenario.name} took {one.took_s:.0f} s")
            if not options.short and not options.dry:
                write_report(one, options.seed)
    return played


def write_report(played: Played, seed: int) -> None:
    """Put one row into the report; the others stay as they are."""
    order = [scenario.name for scenario in SCENARIOS]
    before = DOCUMENT.read_text(encoding="utf-8")
    text = render(before, [played], fetch_circumstances(seed), order)
    DOCUMENT.write_text(text, encoding="utf-8")


def say(text: str) -> None:
    """Print a line at once, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
