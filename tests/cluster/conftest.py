"""One cluster for all scenarios: ours, one that was kept, or the one in E2E_KUBECONFIG."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.cluster import Cluster, find_kept, start_cluster
from llmjobs_e2e.leftovers import find_left_behind, take_inventory
from llmjobs_e2e.programs import fetch_programs
from llmjobs_e2e.target import SYSTEM, Images, Installed, Target

TEAM = "team-a"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A scenario may wait for pods."""
    for item in items:
        item.add_marker(pytest.mark.timeout(300))


_figures: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured, also where it was within its bound."""
    if _figures:
        terminalreporter.section("measured")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def measured() -> Callable[[str, float, float], None]:
    """Note a figure, and check it against its bound: ``measured(what, value, at_most)``."""

    def note(what: str, value: float, at_most: float) -> None:
        _figures.append(f"{what}: {value:.2f} (at most {at_most:g})")
        assert value <= at_most, _figures[-1]

    return note


@dataclass(frozen=True, slots=True)
class Door:
    """Where clients call."""

    url: str


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """A cluster without the product; what we started is taken away without a trace."""
    images = Images(prefix=os.environ.get("E2E_REGISTRY", ""))
    given = os.environ.get("E2E_KUBECONFIG")
    if given:
        yield Target(Path(given), images=images)
        return
    before = take_inventory()
    kept = find_kept()
    cluster = kept or start_own()
    yield Target(cluster.kubeconfig, images=images, own=cluster)
    if kept is None:
        cluster.stop()
        assert find_left_behind(before) == {}


def start_own() -> Cluster:
    asyncio.run(fetch_programs(print))
    return start_cluster(print)


@pytest.fixture(scope="session")
def installed(target: Target) -> Installed:
    """The product in its restricted namespace, as `docs/install.md` has it."""
    if target.is_installed():  # of a run before, on a cluster that was kept
        return Installed("", 0.0)
    target.add_foreign_kinds()
    target.offer_volume("valkey")
    target.create_namespace(SYSTEM)
    started_s = time.monotonic()
    said = target.install()
    return Installed(said, time.monotonic() - started_s)


@pytest.fixture(scope="session")
def team(target: Target, installed: Installed) -> str:
    """A team's namespace."""
    target.ensure_team(TEAM)
    return TEAM


@pytest.fixture
async def clients(target: Target, team: str) -> AsyncIterator[Clients]:
    """Clients of the team, by its account's token."""
    headers = {"Authorization": f"Bearer {target.fetch_token(team)}"}
    async with Clients([Door(target.fetch_gateway_url())], headers=headers) as found:
        yield found
