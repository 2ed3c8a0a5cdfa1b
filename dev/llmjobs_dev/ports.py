"""Free ports on loopback."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack


def find_free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return *count* ports that were free just now.

    Another program may take one before it is used; whoever binds it then fails and says so.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]


def find_ports_again(wanted: Sequence[int], host: str = "127.0.0.1") -> list[int]:
    """Return for each wanted port itself where it is free, any free port otherwise (or for 0)."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in wanted:
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((host, port))
            except OSError:
                one.bind((host, 0))
            found.append(one.getsockname()[1])
        return found
