"""Writes lines without ever making their author wait for the reader."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TextIO

# What may wait for a reader that is slow or stuck, before lines are dropped and counted.
MOST_WAITING = 100_000
# How long lines are collected before they are written in one go.
COLLECT_SECONDS = 0.05


class Sink(Protocol):
    """Where written lines end up: a text stream."""

    def write(self, text: str, /) -> Any: ...

    def flush(self) -> Any: ...


class Descriptor:
    """Writes to a text stream's file without the stream: what a stream failed to write stays in its buffer, and its
    lock with the thread that waits for a stuck reader. Both get in the way when the process ends.

    Raises OSError or ValueError if the stream has no file.
    """

    def __init__(self, stream: TextIO) -> None:
        with contextlib.suppress(OSError):
            stream.flush()
        self._descriptor = stream.fileno()
        self.encoding = stream.encoding or "utf-8"

    def write(self, text: str, /) -> None:
        """Write all of it. Raises OSError, and UnicodeError before anything is written."""
        left = memoryview(text.encode(self.encoding))
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Another process with the same end of a pipe may have made it so.
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()

    def flush(self) -> None:
        """All is written already."""


class Nowhere:
    """Stands for a standard output that is closed."""

    def write(self, text: str, /) -> None:
        """Drop it."""

    def flush(self) -> None:
        """There is nothing."""


def standard_output() -> Sink:
    """Where logs go by default."""
    stream: TextIO | None = sys.stdout
    if stream is None:  # the process was started without it
        return Nowhere()
    try:
        return Descriptor(stream)
    except (OSError, ValueError):
        return stream


class LineWriter:
    """Writes from a thread of its own, so that a stuck reader stops only the log, never the event loop.

    ``dropped`` counts the lines given up on because too many were waiting, or because they could not be written.
    ``notice`` makes a line of what the writer itself has to say.
    """

    def __init__(
        self,
        sink: Sink,
        most_waiting: int = MOST_WAITING,
        notice: Callable[[str], str] = "WARNING log: {}".format,
    ) -> None:
        self._sink = sink
        self._most_waiting = most_waiting
        self._notice = notice
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._too_many = 0
        self._failed = 0
        self._thread.start()

    def write(self, line: str) -> None:
        """Take a line (without line end); returns at once. Safe from any thread."""
        if len(self._lines) >= self._most_waiting:
            self._too_many += 1
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
        told = told_failed = 0
        reason = ""
        while True:
            self._wake.wait()
            closing = self._closing.wait(COLLECT_SECONDS)
            # Cleared before taking: a line that comes in between wakes once more for nothing, and none is missed.
            self._wake.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            count, too_many, failed = len(lines), self._too_many, self._failed
            if too_many > told:
                lines.append(self._notice(f"{too_many - told} lines were dropped, the reader is too slow"))
            if failed > told_failed:
                lines.append(self._notice(f"{failed - told_failed} lines could not be written: {reason}"))
            try:
                self._write("".join(f"{line}\n" for line in lines))
                told, told_failed = too_many, failed
            except Exception as error:  # whatever a sink has: this thread lives as long as the process
                self._failed += count
                reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            if closing:
                return

    def _write(self, text: str) -> None:
        try:
            self._sink.write(text)
        except UnicodeEncodeError:
            # One name in another script must not cost the lines beside it.
            encoding = getattr(self._sink, "encoding", None) or "ascii"
            self._sink.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._sink.flush()
