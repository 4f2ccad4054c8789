"""What it costs to write to many streams: the hub beside aiohttp-sse's own ``send``, on both kinds of loop.

Each has a server process of its own; this process opens the streams and discards what comes.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import statistics
import sys
import threading
import time
from typing import Any

from benchmarks.options import Options
from benchmarks.processes import Cores, Process, Unavailable, started
from benchmarks.report import Table

_BROADCASTS = 10
_OPEN_SECONDS = 60.0
_SPARE_FILES = 200


class Crowd:
    """Opens streams and throws away what they bring."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()
        self._selector.close()

    def open(self, port: int) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        self._sockets.append(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if not connection.recv(65536):
                    self._selector.unregister(connection)


def run(options: Options) -> list[Table]:
    """Measure each kind in turn. ``options.seconds`` is how long the hub's wheel takes for a turn."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    if options.streams > most:
        raise Unavailable(f"at most {most} streams: so many files may be open")
    rows = []
    for loop in ("asyncio", "uvloop"):
        hub, send = (_measure(kind, loop, options) for kind in ("hub", "send"))
        for name, of in ((f"hub, {loop}", hub), (f"aiohttp-sse send, {loop}", send)):
            ratio = round(send["frame"] / of["frame"], 2)
            rows.append([name, round(of["frame"], 1), round(of["bytes"]), ratio, of["hold"]])
    columns = ("", "µs CPU a frame", "bytes a stream", "ratio", "longest hold ms CPU")
    title = f"fanout: {options.streams:,} streams, a turn of the wheel in {options.seconds:g} s"
    return [Table(title, columns, rows)]


def _measure(kind: str, loop: str, options: Options) -> dict[str, Any]:
    """One kind's figures: µs of CPU a frame and stream, resident bytes a stream, the longest hold of the loop."""
    command = [sys.executable, "-m", "benchmarks.fanout_server", kind, str(options.seconds), loop]
    with started(command, cores=Cores.split().server, talks=True) as server, Crowd() as crowd:
        before = _ask(server, "state")
        for number in range(options.streams):
            crowd.open(before["port"])
            if number % 200 == 199:
                _ask(server, "state")
        deadline = time.monotonic() + _OPEN_SECONDS
        while (after := _ask(server, "state"))["streams"] < options.streams:
            if time.monotonic() > deadline:
                raise Unavailable(f"only {after['streams']} streams opened")
            time.sleep(0.05)
        # What opening them left to do is no part of a broadcast.
        time.sleep(0.5)
        after = _ask(server, "state")
        frame = statistics.median(_ask(server, "broadcast") for _ in range(_BROADCASTS * options.rounds))
        held = _ask(server, "turn")
        return {
            "frame": frame / options.streams * 1e6,
            "bytes": (after["resident"] - before["resident"]) / options.streams,
            "hold": round(held * 1e3, 1) if kind == "hub" else None,
        }


def _ask(server: Process, command: str) -> Any:
    assert server.popen.stdin is not None
    server.popen.stdin.write(command + "\n")
    server.popen.stdin.flush()
    return json.loads(server.line())
