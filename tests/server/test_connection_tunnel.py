"""The bytes of a tunnel reach its service in the order in which the client sent them."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from gateway.server.connection import Guard


def guard_with(early: bytes) -> tuple[Guard, list[bytes]]:
    """A guard whose connection becomes a tunnel while it holds ``early``, and what the tunnel has got."""
    got: list[bytes] = []
    server = Mock(loop=asyncio.get_running_loop())
    server.limits.line_bytes, server.limits.headers, server.limits.head_bytes = 8190, 100, 65_536
    guard = Guard(server)
    guard.transport = Mock(get_extra_info=lambda name, default=None: default)
    guard._inner = Mock(data_received=got.append)
    guard._idle, guard._busy, guard._pending = False, True, early
    guard.tunnel()
    return guard, got


async def test_bytes_that_came_with_the_handshake_go_before_later_ones() -> None:
    guard, got = guard_with(b"early ")
    # uvloop reads between two callbacks that were planned one after the other.
    guard.data_received(b"late ")
    await asyncio.sleep(0)
    guard.data_received(b"last")
    assert b"".join(got) == b"early late last"


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_bytes_that_came_with_the_handshake_are_not_lost_with_the_connection(
    error: Exception | None,
) -> None:
    guard, got = guard_with(b"early")
    guard.connection_lost(error)
    await asyncio.sleep(0)
    assert b"".join(got) == b"early"
