"""How a process that handles many short-lived values has Python's cyclic collector work."""

import gc

_YOUNG_MAX = 20_000
"""Containers made before the youngest are looked at (arbitrary). With Python's own 700, one read of
an engine's stream is more than that, and a quarter of a relaying worker's CPU went to looking."""


def relax_collector() -> None:
    """Look for cycles less often, and never again in what is there now; call once, after start-up.

    Nearly everything a request leaves behind goes by reference counts, which this does not touch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, *gc.get_threshold()[1:])
