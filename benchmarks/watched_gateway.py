"""``python benchmarks/watched_gateway.py FILE``: ``gateway serve``, and how long its loop was held.

From SIGUSR1 to SIGUSR2 each turn of the loop is timed, which keeps the core busy; the longest goes to FILE, as seconds
of CPU: others may want the machine too, and what they take is no stall of ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from gateway.serve import serve
from gateway.settings.model import Settings


class Holds:
    """Watches the loop for as long as it is told to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._watching: asyncio.Task[None] | None = None
        self._longest = 0.0

    def begin(self) -> None:
        """Times turns from now on."""
        if self._watching is None:
            self._longest = 0.0
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    def end(self) -> None:
        """Writes down the longest turn since it began."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
            whole = self._file.with_suffix(".part")
            whole.write_text(repr(self._longest))
            whole.replace(self._file)

    async def _watch(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self._longest = max(self._longest, now - last)
            last = now


async def watched(file: Path) -> int:
    """Serves until told to stop."""
    holds = Holds(file)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, holds.begin)
    loop.add_signal_handler(signal.SIGUSR2, holds.end)
    return await serve(Settings.from_env(os.environ), os.environ)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(watched(Path(sys.argv[1]))))
