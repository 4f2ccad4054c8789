"""The instances that serve a room, as they report themselves with their heartbeats."""

from __future__ import annotations

from typing import Final, NamedTuple

from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.redis.connection import RedisConnection

MAX_SHOWN: Final = 256


class Instance(NamedTuple):
    """One instance: its name in Redis for this room, its open streams of the room, its version, and how late its event
    loop was, in seconds; None if it does not say so."""

    name: str
    streams: int
    version: str
    lag: float | None = None


def report(streams: int, version: str, lag: float) -> str:
    """What an instance reports of itself. ``lag`` in seconds."""
    return f"{streams} {version} {lag * 1000:.0f}"


async def read_instances(link: RedisConnection, keys: RoomKeys) -> list[Instance]:
    """The instances with a recent heartbeat, by name, at most ``MAX_SHOWN``. Those of earlier versions report nothing
    and are left out. Raises QueueUnavailable."""
    try:
        names = await link.call("ZRANGE", keys.instances, 0, MAX_SHOWN - 1)
        texts = [name.decode("utf-8", "replace") for name in names]
        found = [_parsed(name, await link.call("GET", keys.about(name))) for name in sorted(texts)]
    except ResponseError as error:
        raise QueueUnavailable(f"Redis: {error}") from error
    return [each for each in found if each is not None]


def _parsed(name: str, stored: bytes | None) -> Instance | None:
    """None without a report: the instance has ended, or reports nothing."""
    streams, _, rest = (stored or b"").decode("utf-8", "replace").partition(" ")
    # Earlier versions report no lag.
    version, _, lag = rest.partition(" ")
    if not (streams.isascii() and streams.isdecimal() and version):
        return None
    known = lag.isascii() and lag.isdecimal()
    return Instance(name, int(streams), version, int(lag) / 1000 if known else None)
