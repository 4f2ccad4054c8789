"""The transport of a connection whose proxy has named the client: it says that the client is the peer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


class ProxiedTransport(asyncio.Transport):
    """``outer`` with another peer. All else is done by ``outer``."""

    __slots__ = (
        "_client",
        "abort",
        "close",
        "get_write_buffer_size",
        "is_closing",
        "outer",
        "pause_reading",
        "resume_reading",
        "set_protocol",
        "write",
    )

    def __init__(self, outer: asyncio.Transport, client: tuple[str, int]) -> None:
        self.outer = outer
        self._client = client
        # Bound once, since they are called for every request.
        self.abort = outer.abort  # type: ignore[method-assign]
        self.close = outer.close  # type: ignore[method-assign]
        self.write = outer.write  # type: ignore[method-assign]
        self.is_closing = outer.is_closing  # type: ignore[method-assign]
        self.get_write_buffer_size = outer.get_write_buffer_size  # type: ignore[method-assign]
        self.pause_reading = outer.pause_reading  # type: ignore[method-assign]
        self.resume_reading = outer.resume_reading  # type: ignore[method-assign]
        self.set_protocol = outer.set_protocol  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As that of ``outer``, but for the peer."""
        return self._client if name == "peername" else self.outer.get_extra_info(name, default)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.outer.writelines(list_of_data)

    def write_eof(self) -> None:
        self.outer.write_eof()

    def can_write_eof(self) -> bool:
        return self.outer.can_write_eof()

    def is_reading(self) -> bool:
        return self.outer.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.outer.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.outer.get_write_buffer_limits()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.outer.get_protocol()
