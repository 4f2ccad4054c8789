"""Writes lines without ever making their author wait for the reader."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

# What may wait for a reader that is slow or stuck, before lines are dropped and counted.
MOST_WAITING = 100_000
# How long lines are collected before they are written in one go.
COLLECT_SECONDS = 0.05


class Sink(Protocol):
    """Where written lines end up: a text stream."""

    def write(self, text: str, /) -> Any: ...

    def flush(self) -> Any: ...


class LineWriter:
    """Writes from a thread of its own, so that a stuck reader stops only the log, never the event loop.

    ``dropped`` counts the lines given up on because too many were waiting, or because the reader has gone.
    """

    def __init__(self, sink: Sink, most_waiting: int = MOST_WAITING) -> None:
        self._sink = sink
        self._most_waiting = most_waiting
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self.dropped = 0
        self._thread.start()

    def write(self, line: str) -> None:
        """Take a line (without line end); returns at once. Safe from any thread."""
        if len(self._lines) >= self._most_waiting:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, patience: float = 2.0) -> None:
        """Write what is waiting and stop, within ``patience`` seconds or without the rest."""
        self._closing.set()
        self._wake.set()
        self._thread.join(patience)

    def _run(self) -> None:
        told = 0
        while True:
            self._wake.wait()
            closing = self._closing.wait(COLLECT_SECONDS)
            # Cleared before taking: a line that comes in between wakes once more for nothing, and none is missed.
            self._wake.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self.dropped > told:
                lines.append(f"WARNING log: {self.dropped - told} lines were dropped, the reader is too slow")
                told = self.dropped
            try:
                self._sink.write("".join(f"{line}\n" for line in lines))
                self._sink.flush()
            except (OSError, ValueError):
                self.dropped += len(lines)
            if closing:
                return
