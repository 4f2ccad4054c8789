"""The end of a connection once the client has taken all that was written for it.

The transport closes plain connections like this by itself. Over TLS it would wait for the client's own end as well, and
it does not say which bytes still wait below the TLS layer.
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
    """Closes the connection. Over TLS it waits ``seconds`` for the client's own end; ``key`` is then the connection's
    among the ``deadlines``. A client that has not taken all by then gets as much more time as
    ``slow_client`` allows; without it, none."""
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
    """Whether an idle connection can be ended without harm: no request is arriving, and over TLS, where only an
    immediate end does not wait for the client, the last answer has arrived."""
    return not is_readable(transport) and not (over_tls(transport) and unsent_bytes(transport))
