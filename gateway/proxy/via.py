"""``Via``: the gateway names itself to services, and so notices a request that comes back to it again and again.

Pure functions. All instances of a gateway have one pseudonym, since a loop may lead from one instance to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from aiohttp import hdrs

MAX_PASSES: Final = 4
"""A request that has passed the gateway so often is refused. Two or three times are no loop yet: a service may call
another one by the gateway, with the headers that it got."""

_NO_TOKEN: Final = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_VIA: Final = hdrs.VIA.encode()


@lru_cache(maxsize=8)
def pseudonym_of(name: str) -> str:
    """The ``received-by`` of RFC 9110, 7.6.3, for a gateway of this name."""
    return _NO_TOKEN.sub("-", name) or "gateway"


def passes(values: Iterable[str], pseudonym: str) -> int:
    """How many entries of ``Via`` are those of the gateway with this pseudonym."""
    wanted = pseudonym.lower()
    return sum(_received_by(entry) == wanted for value in values for entry in value.split(","))


def _received_by(entry: str) -> str:
    """The host or pseudonym of an entry such as ``1.1 gateway (comment)``, in lower case."""
    parts = entry.split(None, 2)
    return parts[1].lower() if len(parts) > 1 else ""


def via_header(
    pseudonym: str, before: Sequence[tuple[bytes, bytes]], after: Sequence[tuple[bytes, bytes]]
) -> tuple[bytes, bytes]:
    """The entry for a service. ``before``: the client's headers; ``after``: what the route's filters have made of them.
    Entries of this gateway that a filter has removed are written again: otherwise a loop through that route would have
    no end."""
    lost = 0 if after is before else passes(_vias(before), pseudonym) - passes(_vias(after), pseudonym)
    return _entries(pseudonym, 1 + max(lost, 0))


def _vias(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name.lower() == b"via"]


@lru_cache(maxsize=32)
def _entries(pseudonym: str, count: int) -> tuple[bytes, bytes]:
    return _VIA, b", ".join([f"1.1 {pseudonym}".encode()] * count)
