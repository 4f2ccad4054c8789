"""The keys for passes and receipts in Redis, where all instances share them. ``signing_keys.lua`` has the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.waiting_room.redis.connection import CallObserver, Redis, ignore_calls
from gateway.waiting_room.scripts import Script


def signing_keys_key(prefix: str) -> str:
    """The name of the hash with the keys. It belongs to no room."""
    return f"{prefix}gw:signing-keys"


class StoredKey(NamedTuple):
    """One key. It signs from ``signs_from`` until ``signs_until``, in seconds since the epoch by Redis's clock."""

    id: str
    private: str
    signs_from: float
    signs_until: float


class StoredKeys(NamedTuple):
    """All keys, in the order of their turns, at ``now`` by Redis's clock; and how many more are wanted."""

    now: float
    wanted: int
    keys: tuple[StoredKey, ...]


class SigningKeyStore:
    """Reads and adds keys. ``turn``: how long a key signs; ``keep``: how long it is kept afterwards; in seconds."""

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        prefix: str,
        *,
        turn: float,
        keep: float,
        observe: CallObserver = ignore_calls,
    ) -> None:
        self._key = signing_keys_key(prefix)
        self._link = redis.link(observe, key=self._key)
        self._script = scripts["signing_keys"]
        self._turn_ms = max(1, round(turn * 1000))
        self._keep_ms = round(keep * 1000)

    async def load(self, fresh: Sequence[tuple[str, str]] = ()) -> StoredKeys:
        """All keys, after as many of ``fresh`` have been added as were wanted. ``fresh``: ids and private keys.

        Raises QueueUnavailable.
        """
        parts = [part for pair in fresh for part in pair]
        reply = await self._link.run(self._script, (self._key,), (self._turn_ms, self._keep_ms, *parts))
        now, wanted, *keys = reply
        return StoredKeys(int(now) / 1000, wanted, tuple(_key(each) for each in keys))

    async def close(self) -> None:
        """Closes the connection."""
        await self._link.close()


def _key(reply: Sequence[Any]) -> StoredKey:
    name, private, signs_from, signs_until = reply
    return StoredKey(name.decode(), private.decode(), int(signs_from) / 1000, int(signs_until) / 1000)
