"""``python -m llmjobs_e2e``: ``up`` until Ctrl-C or ``--keep``, ``down``, ``build``, ``images``."""

import argparse
import asyncio
import os
import signal
import sys

from llmjobs_dev.binaries import BinariesUnavailableError, fetch_binaries
from llmjobs_e2e.cluster import Cluster, find_kept, start_cluster
from llmjobs_e2e.image_builds import build_archives, find_vllm, list_images
from llmjobs_e2e.programs import fetch_programs, fetch_prometheus
from llmjobs_e2e.sandbox import NoRootError, require_root


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)


def build() -> None:
    """Build all that the scenarios need and is not in the cache: minutes, once."""
    if os.environ.get("E2E_KUBECONFIG"):
        asyncio.run(fetch_binaries(say))  # for kubectl
        return
    require_root()
    asyncio.run(fetch_programs(say))
    fetch_prometheus(say)
    build_archives(say, [*list_images(), find_vllm()])


def up(*, keep: bool) -> None:
    """Start a cluster; stay with it unless it is kept."""
    kept = find_kept()
    if kept is not None:
        say(f"a cluster runs already: export KUBECONFIG={kept.kubeconfig}")
        return
    asyncio.run(fetch_programs(say))
    cluster = start_cluster(say, keep=keep)
    say(f"export KUBECONFIG={cluster.kubeconfig}")
    if keep:
        return
    stay(cluster)


def stay(cluster: Cluster) -> None:
    """Keep the cluster until a signal asks to end it."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        signal.sigwait(signals)
    finally:
        cluster.stop()


def down() -> None:
    """End the cluster that was kept."""
    kept = find_kept()
    if kept is None:
        say("no cluster runs here")
        return
    kept.stop()


def main() -> None:
    """Do what the arguments say; failures are one message."""
    parser = argparse.ArgumentParser(prog="python -m llmjobs_e2e", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "build", "images"])
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args()
    try:
        if options.command == "up":
            up(keep=options.keep)
        elif options.command == "down":
            down()
        elif options.command == "build":
            build()
        else:
            for path in build_archives(say):
                say(f"{path} {path.stat().st_size // 2**20} MiB")
    except (BinariesUnavailableError, NoRootError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
