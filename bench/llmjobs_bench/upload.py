"""A batch file on its way to a server: lines made beforehand, sent as fast as they are taken.

A process of its own: ``python -m llmjobs_bench.upload PORT PATH LINES`` writes what it took and the
answer, as JSON.
"""

import json
import re
import socket
import sys
import time
from typing import Any

from llmjobs_bench.rig import MODEL

_PIECE = 1 << 16
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def build_line_body(line: int) -> dict[str, Any]:
    """Return the OpenAI request of a line; each is another's neighbour and nobody's copy."""
    prompt = f"summarise document {line}: " + "it was a dark and stormy night; " * 6
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 64,
    }


def build_lines(lines: int) -> bytes:
    """Return the batch file."""
    return b"".join(
        json.dumps(
            {
                "custom_id": f"line-{line}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": build_line_body(line),
            }
        ).encode()
        + b"\n"
        for line in range(lines)
    )


def upload(port: int, path: str, body: bytes) -> tuple[float, bytes]:
    """Send *body*; returns the seconds until the answer had come, and the whole answer."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began_s = time.perf_counter()
        connection.sendall(head.encode())
        for at in range(0, len(body), _PIECE):
            connection.sendall(body[at : at + _PIECE])
        answer = receive(connection)
        return time.perf_counter() - began_s, answer


def receive(connection: socket.socket) -> bytes:
    """Return one answer that says its length; head and body."""
    received = b""
    while True:
        data = connection.recv(_PIECE)
        if not data:
            raise ConnectionError("the server closed the connection")
        received += data
        head, blank, body = received.partition(b"\r\n\r\n")
        if blank and len(body) >= int(_LENGTH.search(head)[1]):  # type: ignore[index] # all have it
            return received


def main() -> None:
    """Send what the arguments say."""
    port, path, lines = sys.argv[1:]
    body = build_lines(int(lines))
    took_s, answer = upload(int(port), path, body)
    head, _, text = answer.decode().partition("\r\n\r\n")
    status = int(head.split(" ", 2)[1])
    print(json.dumps({"took_s": took_s, "bytes": len(body), "status": status, "answer": text}))


if __name__ == "__main__":
    main()
