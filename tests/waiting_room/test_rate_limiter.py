"""Limits of routes' rates in Redis, as the gateway asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis as Client
from redis.crc import key_slot

from gateway.errors import QueueUnavailable
from gateway.waiting_room import rate_limiter
from gateway.waiting_room.batch import Outcome
from gateway.waiting_room.rate_limiter import Bucket, RateLimiter, Verdict, bucket_key
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.scripts import Script, load_all


async def test_requests_that_come_together_share_calls(redis_url: str, redis: Client) -> None:
    calls: list[tuple[str, int]] = []
    limiter = RateLimiter(
        Redis(redis_url, 1.0),
        load_all(),
        "shop:",
        lambda script, seconds, size, failed: calls.append((script, size)),
    )
    async with limiter.running():
        verdicts = await asyncio.gather(*(limiter.take([Bucket("a", 1, 5, 1)]) for _ in range(8)))
    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False] * 3
    assert [verdict.left for verdict in verdicts[:5]] == [(4,), (3,), (2,), (1,), (0,)]
    assert verdicts[-1].wait is not None
    assert 0 < verdicts[-1].wait <= 1.0
    assert {script for script, _ in calls} == {"rate_limit"}
    assert sum(size for _, size in calls) == 8
    assert len(calls) < 8
    assert await redis.keys("*") == [bucket_key("shop:", "a")]


async def test_an_outcome_gets_its_verdict(redis_url: str) -> None:
    limiter = RateLimiter(Redis(redis_url, 1.0), load_all(), "")
    done = asyncio.Event()
    outcome: Outcome[Verdict] = Outcome(done.set)
    async with limiter.running():
        limiter.take_for(outcome, [Bucket("a", 1, 0, 1)])
        async with asyncio.timeout(10):
            await done.wait()
    assert outcome.result() == Verdict(False, None, (0,))


async def test_without_redis_there_is_no_verdict() -> None:
    limiter = RateLimiter(Redis("redis://127.0.0.1:1", 0.5), load_all(), "")
    async with limiter.running():
        with pytest.raises(QueueUnavailable):
            await limiter.take([Bucket("a", 1, 1, 1)])
    with pytest.raises(QueueUnavailable):
        await limiter.take([Bucket("a", 1, 1, 1)])


def test_keys_hold_no_secret_and_are_in_one_slot() -> None:
    keys = {bucket_key("", name) for name in ("a", "b", "secret")}
    assert len(keys) == 3
    assert not any("secret" in key for key in keys)
    assert len({key_slot(key.encode()) for key in keys}) == 1
    bucket_key("", "\udcff")


async def test_known_buckets_are_told_apart_by_all_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * 300
    requests = [
        [Bucket("a", 1, 5, 1)],
        [Bucket("b", 1, 5, 1), Bucket("b", 1, 7, 2)],
        [Bucket(long, 1, 5, 1), Bucket(long + "y", 2, 5, 1)],
    ]
    numbers = [1, 1, 5, 1, 2, 1, 5, 1, 1, 7, 2, 2, 1, 5, 1, 2, 5, 1]
    rate_limiter._known_packed.cache_clear()
    for prefix in ("shop:", "", "shop:"):
        limiter = RateLimiter(Redis("redis://127.0.0.1:1", 1.0), load_all(), prefix)
        sent: list[tuple[Sequence[bytes], Sequence[bytes | int]]] = []

        async def run(
            script: Script,
            keys: Sequence[bytes],
            arguments: Sequence[bytes | int],
            size: int,
            sent: list[Any] = sent,
        ) -> list[list[int]]:
            sent.append((keys, arguments))
            return [[1, 0, 1]] * size

        monkeypatch.setattr(limiter._link, "run", run)
        # Twice, so that the second call finds what is known.
        for _ in range(2):
            assert len(await limiter._send(list(requests))) == 3
        names = [bucket.name for buckets in requests for bucket in buckets]
        for keys, arguments in sent:
            assert [key.decode() for key in keys] == [bucket_key(prefix, name) for name in names]
            assert list(map(int, arguments)) == numbers
    # Three for each prefix: long names are not kept.
    assert rate_limiter._known_packed.cache_info().currsize == 6
