"""Free ports on loopback."""

import socket
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
