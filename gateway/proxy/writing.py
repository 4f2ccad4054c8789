"""Writes a head together with the part of a body that is at hand."""

from __future__ import annotations

import asyncio
from typing import Final

AT_ONCE_BYTES: Final = 16 * 1024
"""A shorter body is copied behind its head. To pass a longer one beside it is cheaper, and it stays one system call."""


def write_with_body(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    """Writes both without waiting; either may be empty."""
    if len(body) < AT_ONCE_BYTES:
        transport.write(head + body if body else head)
    else:
        transport.writelines((head, body))
