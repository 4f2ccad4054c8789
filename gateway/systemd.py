"""The gateway as a service of systemd: says when it is ready, and that its event loop still runs.

The protocol is sd_notify(3): datagrams of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names. With
``WatchdogSec=`` in the unit, systemd kills and restarts a service that has been silent for so long, so a gateway that
hangs is replaced without an operator. Without ``NOTIFY_SOCKET`` nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping

log = logging.getLogger(__name__)

_MAX_INTERVAL_SECONDS = 60.0


class Notifier:
    """Sends the state of this process to systemd.

    ``address``: the notification socket, ``@`` in front of an abstract one; empty: nothing is sent.
    ``watchdog_seconds``: the silence after which systemd kills the process; 0: it does not watch.
    """

    def __init__(self, address: str, watchdog_seconds: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.interval_seconds = min(watchdog_seconds / 2, _MAX_INTERVAL_SECONDS)
        """Time between two signs of life (half of what systemd waits, as its manual asks); 0: none are sent."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Notifier:
        """The notifier that systemd's variables ask for. A watchdog that is meant for another process, or is not a
        number, counts as none."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls("")
        microseconds = environ.get("WATCHDOG_USEC", "")
        for_us = environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        watched = for_us and microseconds.isascii() and microseconds.isdigit()
        return cls(address, int(microseconds[:15]) / 1e6 if watched else 0.0)

    def send(self, *lines: str) -> None:
        """Sends ``lines`` to systemd without waiting. If the socket is gone or full, the gateway goes on serving."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd was not told %s: %s", lines[0], error)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Sends signs of life from the event loop until the block ends."""
        if not (self._address and self.interval_seconds):
            yield
            return
        task = asyncio.create_task(self._signs_of_life())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _signs_of_life(self) -> None:
        while True:
            self.send("WATCHDOG=1")
            await asyncio.sleep(self.interval_seconds)
