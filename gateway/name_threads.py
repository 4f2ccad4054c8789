"""Asks the system's resolver about names, in threads of its own.

The event loop has few threads for lookups (uvloop's has two). A name whose DNS server does not answer holds one for ten
seconds and more, and two such names would hold up all others. So Redis alone uses the threads of the loop. The names of
services, the auth server, Eureka and others get threads beside them, each for as long as its lookup takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any, Final, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class FoundAddress(NamedTuple):
    """One address of a name, with the number of its interface if it is valid at one alone."""

    family: socket.AddressFamily
    address: str


async def addresses_of(host: str, family: int = socket.AF_UNSPEC) -> list[FoundAddress]:
    """The addresses of a name, in the resolver's order. Raises OSError, or UnicodeError for a name that can't exist."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[FoundAddress]] = loop.create_future()

    def settle(addresses: list[FoundAddress], error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def ask() -> None:
        addresses: list[FoundAddress] = []
        problem: Exception | None = None
        try:
            addresses = _asked(host, family)
        except (OSError, UnicodeError) as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: no task waits any more
            loop.call_soon_threadsafe(settle, addresses, problem)

    # A daemon thread: the process need not wait for it at its end.
    threading.Thread(target=ask, name=f"lookup of {host}", daemon=True).start()
    return await found


def _asked(host: str, family: int) -> list[FoundAddress]:
    answers = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [FoundAddress(kind, _text(kind, address)) for kind, _, _, _, address in answers if _is_known(kind)]


def _is_known(family: socket.AddressFamily) -> bool:
    return family in (socket.AF_INET, socket.AF_INET6)


def _text(family: socket.AddressFamily, address: tuple[Any, ...]) -> str:
    scope = address[3] if family == socket.AF_INET6 and len(address) > 3 else 0
    return f"{address[0]}%{scope}" if scope else str(address[0])


class NameResolver(AbstractResolver):
    """Looks names up for the connections of an HTTP client, one lookup of each name at a time."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As of its parent."""
        return [
            ResolveResult(
                hostname=host, host=each.address, port=port, family=each.family, proto=0, flags=_NUMERIC
            )
            for each in await addresses_of(host, family)
        ]

    async def close(self) -> None:
        """No-op: each thread ends with its lookup."""
