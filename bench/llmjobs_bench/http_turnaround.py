"""One job after the other: the time from sending it to knowing that it has ended.

A process of its own, on blocking sockets: ``python -m llmjobs_bench.http_turnaround KIND PORT COUNT
BODY TEXT``. KIND ``sse`` submits to a gateway that answers by the job's events; ``sse2`` submits,
and then asks for them; ``wait`` posts to a peer's route that answers at the end. Every job must end
with TEXT. Writes the milliseconds as JSON.
"""

import json
import socket
import sys
import time

from llmjobs_bench.http_load import build_request
from llmjobs_bench.upload import receive

_PAUSE_S = 0.005
"""Between two jobs, so that each finds an idle system: what comes after an end is over."""
_PIECE = 1 << 16
_TIMEOUT_S = 10.0


class WrongEvents(Exception):
    """A job's events are not what they have to be."""


def run_sse(connection: socket.socket, request: bytes, text: str) -> float:
    """Submit one job and read the events that answer; returns the seconds until the last."""
    began_s = time.perf_counter()
    connection.sendall(request)
    return read_events(connection, began_s, text)


def run_sse2(connection: socket.socket, request: bytes, text: str) -> float:
    """Submit one job, then ask for its events; returns the seconds until the last had come."""
    began_s = time.perf_counter()
    connection.sendall(request)
    job_id = json.loads(receive(connection).partition(b"\r\n\r\n")[2])["id"]
    connection.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    return read_events(connection, began_s, text)


def read_events(connection: socket.socket, began_s: float, text: str) -> float:
    """Read a stream to its end; returns the seconds since *began_s* that its last event came."""
    received = b""
    took_s = 0.0
    while not received.endswith(b"\r\n0\r\n\r\n"):
        data = connection.recv(_PIECE)
        if not data:
            raise WrongEvents(f"the stream broke off: {received!r}")
        received += data
        if not took_s and b"event: done\n" in received:
            took_s = time.perf_counter() - began_s
    check_events(received, text)
    return took_s


def check_events(received: bytes, text: str) -> None:
    """Raise WrongEvents unless each event is there once, in order, the last one a success."""
    ids, seen, last = [], "", ""
    for line in received.decode().splitlines():
        name, _, value = line.partition(": ")
        if name == "id":
            ids.append(tuple(map(int, value.split("-"))))
        elif name == "event":
            last = value
        elif name == "data":
            seen += json.loads(value).get("text", "") if last == "delta" else ""
    if ids != sorted(set(ids)):
        raise WrongEvents(f"events are doubled or out of order: {ids}")
    if (last, seen) != ("done", text) or b'"state":"Succeeded"' not in received:
        raise WrongEvents(f"the job ended with {seen!r}: {received!r}")


def run_wait(connection: socket.socket, request: bytes, text: str) -> float:
    """Post one job; returns the seconds until its end was answered."""
    began_s = time.perf_counter()
    connection.sendall(request)
    answer = receive(connection)
    took_s = time.perf_counter() - began_s
    if json.loads(answer.partition(b"\r\n\r\n")[2])["text"] != text:
        raise WrongEvents(f"the job ended otherwise: {answer!r}")
    return took_s


def main() -> None:
    """Run the jobs that the arguments say."""
    kind, port, count, body, text = sys.argv[1:]
    run = {"sse": run_sse, "sse2": run_sse2, "wait": run_wait}[kind]
    path = "/jobs/wait" if kind == "wait" else "/jobs"
    accept = "text/event-stream" if kind == "sse" else "*/*"
    request = build_request(path, body.encode(), accept)
    times_ms: list[float] = []
    while len(times_ms) < int(count):
        with socket.create_connection(("127.0.0.1", int(port)), timeout=_TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while len(times_ms) < int(count):
                    times_ms.append(1000 * run(connection, request, text))
                    time.sleep(_PAUSE_S)
            except TimeoutError:
                if kind != "wait":
                    raise
                # A peer that was not told of its job's end: that job took all the time there was.
                times_ms.append(1000 * _TIMEOUT_S)
    print(json.dumps(times_ms))


if __name__ == "__main__":
    main()
