"""Closes a connection once the client has taken all that was written for it.

A plain transport does this by itself. A TLS transport also waits for the client to end the connection, and does not say
how many bytes still wait below the TLS layer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Protocol

from gateway.server.deadlines import Deadlines
from gateway.server.socket_buffer import is_readable, over_tls, unsent_bytes


class SlowClientWatch(Protocol):
    """Ends the connection of a client that takes nothing (``WriteTimeout``)."""

    @property
    def watching(self) -> bool:
        """Whether bytes wait, as far as is known."""

    def watch(self) -> None:
        """Bytes may wait for the client: measures from now on."""


def close_in_order(
    key: Hashable,
    transport: asyncio.Transport,
    deadlines: Deadlines,
    seconds: float,
    slow_client: SlowClientWatch | None,
) -> None:
    """Closes the connection. Over TLS, the client has ``seconds`` to take all bytes and to end the connection itself;
    then the connection is aborted. While bytes still wait, the client gets more time for as long as ``slow_client``
    allows. ``key`` names the connection among the ``deadlines``."""
    transport.close()
    if not over_tls(transport):
        return

    def time_out() -> None:
        if slow_client is None or not unsent_bytes(transport):
            transport.abort()
            return
        if not slow_client.watching:
            slow_client.watch()
        deadlines.set(key, seconds, time_out)

    deadlines.set(key, seconds, time_out)


def may_end_at_once(transport: asyncio.Transport) -> bool:
    """Whether an idle connection can be ended without harm: no request is arriving, and over TLS the client has
    acknowledged the last answer, which an abort would drop."""
    return not is_readable(transport) and not (over_tls(transport) and unsent_bytes(transport))
