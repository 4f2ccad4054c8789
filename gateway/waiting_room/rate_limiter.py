"""Limits of routes' rates, kept in Redis and shared by all instances."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from gateway.waiting_room.batch import Batcher, BatchObserver, Outcome
from gateway.waiting_room.redis.connection import CallObserver, Redis, ignore_calls
from gateway.waiting_room.scripts import Script


class Bucket(NamedTuple):
    """One bucket that a request takes from. ``name`` tells it from all others and may hold a secret: only its digest
    goes to Redis. ``rate``: tokens a second."""

    name: str
    rate: int
    capacity: int
    wanted: int


class Verdict(NamedTuple):
    """Whether a request may pass. ``wait``: seconds until it may; None: never. ``left``: the whole tokens in each of
    its buckets, up to the one that refused it."""

    allowed: bool
    wait: float | None
    left: tuple[int, ...]


def bucket_key(prefix: str, name: str) -> str:
    """The key of a bucket in Redis. All buckets are in one slot of a Cluster, so that one call can serve many
    requests."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{prefix}gw:{{limits}}:{digest[:32]}"


class _Packed(NamedTuple):
    """A bucket as Redis gets it."""

    key: bytes
    numbers: tuple[bytes, bytes, bytes]


def _packed(prefix: str, bucket: Bucket) -> _Packed:
    rate, capacity, wanted = (b"%d" % number for number in bucket[1:])
    return _Packed(bucket_key(prefix, bucket.name).encode(), (rate, capacity, wanted))


_MAX_KNOWN_NAME: Final = 256
"""Characters. Names contain what clients send; longer ones are packed anew each time, so that they fill no memory."""
_known_packed: Final = lru_cache(maxsize=4096)(_packed)
"""The same for the buckets of callers who call again."""


class RateLimiter:
    """Asks Redis, for up to 256 requests with each call. Works inside ``running()``. ``observe`` is called for each
    script call, ``batch_observer`` with the requests that it was made for."""

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        prefix: str,
        observe: CallObserver = ignore_calls,
        batch_observer: BatchObserver | None = None,
    ) -> None:
        self._prefix = prefix
        self._script = scripts["rate_limit"]
        self._link = redis.link(observe, key=bucket_key(prefix, ""))
        self._batcher: Batcher[Sequence[Bucket], Verdict] = Batcher(
            self._send, patience=redis.timeout, script="rate_limit", observer=batch_observer
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers until the block ends."""
        try:
            async with self._batcher.running():
                yield
        finally:
            await self._link.close()

    async def take(self, buckets: Sequence[Bucket]) -> Verdict:
        """Takes tokens for one request. Raises QueueUnavailable or QueueFailed."""
        return await self._batcher.submit(buckets)

    def take_for(self, outcome: Outcome[Verdict], buckets: Sequence[Bucket]) -> None:
        """``take`` for a caller that is no task. Raises QueueUnavailable."""
        self._batcher.submit_to(buckets, outcome)

    async def _send(self, requests: list[Sequence[Bucket]]) -> list[Verdict]:
        keys: list[bytes] = []
        arguments: list[bytes | int] = []
        for buckets in requests:
            arguments.append(b"1" if len(buckets) == 1 else len(buckets))
            for bucket in buckets:
                pack = _known_packed if len(bucket.name) <= _MAX_KNOWN_NAME else _packed
                packed = pack(self._prefix, bucket)
                keys.append(packed.key)
                arguments += packed.numbers
        reply = await self._link.run(self._script, keys, arguments, len(requests))
        return [_verdict(each) for each in reply]


def _verdict(reply: Sequence[Any]) -> Verdict:
    allowed, wait, *left = reply
    return Verdict(allowed == 1, None if wait < 0 else wait / 1000, tuple(left))
