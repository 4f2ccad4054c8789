"""Codes with which visitors take their places to another device, in Redis. Each is good once, for ten minutes.

A code is 8 consonants: about 34 bits, no vowels and so no words, and nothing that people take for something else. Codes
are keys by their hash, so a list of keys shows none.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.redis.connection import CallObserver, Redis, ignore_calls
from gateway.waiting_room.scripts import Script

CONSONANTS: Final = "bcdfghjkmnpqrstvwxz"
"""Without l, which looks like 1 and I, and without y, which some read as a vowel."""
LENGTH: Final = 8
GOOD_SECONDS: Final = 600
MAX_CODES: Final = 50_000
"""Codes that Redis keeps at a time; one more ends the first one. With the longest paths they take 120 MB."""
_ATTEMPTS: Final = 4
"""New codes that are tried, at most, if others have them already. Even the second is hardly ever needed."""


class Offer(NamedTuple):
    """A code, and for how many seconds it is still good."""

    code: str
    seconds: float


class Holder(NamedTuple):
    """The visitor to whom a code belongs, by the key in rooms, and the ``path`` of this site from which the code was
    asked for."""

    visitor: str
    path: str = "/"


def new_code() -> str:
    """A code, drawn at random."""
    return "".join(secrets.choice(CONSONANTS) for _ in range(LENGTH))


class TransferStore:
    """Gives codes, and takes each one once. All calls raise QueueUnavailable."""

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        prefix: str,
        *,
        observe: CallObserver = ignore_calls,
    ) -> None:
        # One hash tag for all, because a call needs several of these keys.
        self._beginning = f"{prefix}gw:{{transfers}}:"
        self._link = redis.link(observe, key=self._beginning)
        self._scripts = scripts

    async def offer(self, room: str, visitor: str, path: str = "/") -> Offer:
        """A code for the visitor with this key; the former one, as long as it is good. ``path``: where the other device
        is to go."""
        holder = f"{room}\n{visitor}"
        kept = _written(room, Holder(visitor, path))
        for _ in range(_ATTEMPTS):
            code = new_code()
            reply = await self._link.run(
                self._scripts["offer"],
                (self._offered(holder), self._taken(code), f"{self._beginning}given"),
                (code, kept, GOOD_SECONDS * 1000, MAX_CODES),
            )
            if reply[0]:
                return Offer(reply[0].decode(), reply[1] / 1000)
        raise QueueUnavailable("no code is free")

    async def holder(self, room: str, code: str) -> Holder | None:
        """The visitor of ``room`` to whom the code belongs; None if it is not good there. Does not use the code."""
        try:
            found = await self._link.call("GET", self._taken(code))
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        if found is None:
            return None
        of_room, visitor, *path = found.decode().split("\n")
        return Holder(visitor, *path[:1]) if of_room == room else None

    async def redeem(self, room: str, code: str, holder: Holder) -> bool:
        """Uses the code, which belongs to ``holder``. Returns whether it was still good."""
        keys = (self._taken(code), self._offered(f"{room}\n{holder.visitor}"))
        return bool(await self._link.run(self._scripts["redeem"], keys, (_written(room, holder),)))

    async def close(self) -> None:
        """Closes the connection."""
        await self._link.close()

    def _taken(self, code: str) -> str:
        return f"{self._beginning}code:{_hash(code)}"

    def _offered(self, holder: str) -> str:
        return f"{self._beginning}of:{_hash(holder)}"


def _written(room: str, holder: Holder) -> str:
    """A holder as Redis has it. A former version writes no path, and so does this one for ``/``."""
    return "\n".join((room, holder.visitor, *([] if holder.path == "/" else [holder.path])))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]
