"""The sale's opening hours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Sale:
    """When the doors are open. Closing them interrupts everybody who is still about."""

    def __init__(self, seconds: float) -> None:
        self.opened = asyncio.get_running_loop().time()
        self.closes = self.opened + seconds
        self._visits: set[asyncio.Timeout] = set()

    @contextmanager
    def hours(self) -> Iterator[asyncio.Timeout]:
        """A time-out, to be entered, that strikes when the sale closes, whenever that is."""
        timeout = asyncio.timeout_at(self.closes)
        self._visits.add(timeout)
        try:
            yield timeout
        finally:
            self._visits.discard(timeout)

    def close(self) -> None:
        """Close now."""
        self.closes = asyncio.get_running_loop().time()
        for visit in self._visits:
            visit.reschedule(self.closes)
