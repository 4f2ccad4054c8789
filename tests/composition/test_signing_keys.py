"""Several instances with one real Redis: they agree on the keys, whatever their clocks say and whenever they start."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis as Client

from gateway.auth.jws import parse_jws, verify_jws
from gateway.auth.key_ring import KeyRing
from gateway.auth.key_set import parse_key_set
from gateway.composition.signing_keys import SigningKeys, keep_seconds, signing_keys_of
from gateway.errors import QueueUnavailable
from gateway.settings.model import Settings
from gateway.waiting_room.redis.connection import Redis, ignore_calls
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.signing_keys import SigningKeyStore
from tests.support.redis_server import StartRedis

DAY = 86_400.0


def instance(url: str, turn: float = DAY, keep: float = DAY) -> SigningKeys:
    store = SigningKeyStore(Redis(url, 1.0), load_all(), "", turn=turn, keep=keep)
    return SigningKeys(KeyRing(), store, turn, 1.0)


@asynccontextmanager
async def instances(url: str, count: int, turn: float = DAY) -> AsyncIterator[list[SigningKeys]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(instance(url, turn).running()) for _ in range(count)]


async def eventually(condition: object, limit: float = 20.0) -> None:
    assert callable(condition)
    until = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


def kids(document: bytes) -> list[str]:
    return [key["kid"] for key in json.loads(document)["keys"]]


async def test_instances_that_start_at_once_share_the_first_keys(redis_url: str, redis: Client) -> None:
    async with instances(redis_url, 8) as all_of_them:
        documents = await asyncio.gather(*(one.document() for one in all_of_them))
        assert len(set(documents)) == 1
        assert len(kids(documents[0])) == await redis.hlen("gw:signing-keys") == 2
        signing = {one.ring.signing_key().id for one in all_of_them}  # type: ignore[union-attr]
        assert signing == {kids(documents[0])[0]}


async def test_what_one_instance_signs_the_keys_of_another_verify(redis_url: str) -> None:
    async with instances(redis_url, 2) as (one, other):
        await one.document()
        signed = one.ring.sign("queue-pass+jwt", {"sub": "alice"})
        assert signed
        keys = parse_key_set(await other.document(), ("ES256",))
        verify_jws(parse_jws(signed), keys, typ="queue-pass+jwt")


async def test_clocks_that_differ_do_not_matter(redis_url: str) -> None:
    async with instances(redis_url, 2) as (one, other):
        one.ring._clock = lambda: time.monotonic() + 7 * DAY
        await asyncio.gather(one.document(), other.document())
        assert abs(one.ring.now - other.ring.now) < 1
        assert one.ring.signing_key().id == other.ring.signing_key().id  # type: ignore[union-attr]


async def test_keys_are_rotated_and_each_is_published_before_it_signs(redis_url: str) -> None:
    turn = 0.4
    published_at: dict[str, float] = {}
    signed_at: dict[str, float] = {}

    async with instances(redis_url, 3, turn) as all_of_them:
        for one in all_of_them:
            await one.document()

        def look() -> bool:
            for one in all_of_them:
                for kid in kids(one.ring.document()):
                    published_at.setdefault(kid, time.monotonic())
                key = one.ring.signing_key()
                assert key is not None
                signed_at.setdefault(key.id, time.monotonic())
                # Every instance publishes what any instance signs with.
                assert all(key.id in kids(other.ring.document()) for other in all_of_them)
            return len(signed_at) >= 5

        await eventually(look)
    first, *others = sorted(signed_at, key=signed_at.__getitem__)
    for kid in others[1:]:
        assert signed_at[kid] - published_at[kid] > turn / 2
    assert first in published_at


async def test_without_a_need_nothing_is_asked_of_redis(redis_url: str, redis: Client) -> None:
    async with instances(redis_url, 1):
        await asyncio.sleep(0)
        assert await redis.exists("gw:signing-keys") == 0


async def test_redis_that_is_away_at_first_and_comes_later(
    start_redis: StartRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis()
    server.kill()
    async with instances(server.url, 1) as (one,):
        with pytest.raises(QueueUnavailable):
            await one.document()
        assert one.ring.sign("a", {}) is None
        server.start()
        await eventually(lambda: one.ring.known)
        assert len(kids(await one.document())) == 2
    assert [record.levelname for record in caplog.records if "signing keys" in record.message] == ["WARNING"]


async def test_while_redis_is_away_known_keys_sign_on(start_redis: StartRedis) -> None:
    server = start_redis()
    async with instances(server.url, 1, turn=0.4) as (one,):
        before = await one.document()
        server.kill()
        with pytest.raises(QueueUnavailable):
            await one.refresh()
        await eventually(lambda: one.ring.seconds_to_next_turn() is None)
        # The second key was known before Redis went away, and its turn began without Redis.
        assert one.ring.signing_key().id == kids(before)[1]  # type: ignore[union-attr]
        assert kids(await one.document()) == kids(before)


async def test_after_a_loss_of_data_old_keys_are_published_beside_new_ones(
    redis_url: str, redis: Client
) -> None:
    async with instances(redis_url, 2) as (one, other):
        before = kids(await one.document())
        await other.document()
        await redis.flushall()
        await asyncio.gather(one.refresh(), other.refresh())
        for each in (one, other):
            now = kids(await each.document())
            assert set(before) < set(now)
            assert len(now) == 4
            assert each.ring.signing_key().id not in before  # type: ignore[union-attr]


async def test_a_fault_of_the_gateway_s_own_is_logged_and_does_not_end_the_task(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.composition.signing_keys._RETRY_SECONDS", (0.01, 0.02))
    async with instances(redis_url, 1) as (one,):
        with monkeypatch.context() as patch:
            patch.setattr("gateway.composition.signing_keys.generate_private_key", lambda: 1 / 0)
            one.need()
            await eventually(lambda: "ZeroDivisionError" in caplog.text)
        await eventually(lambda: one.ring.known)
    assert caplog.records[0].levelno == logging.ERROR


@pytest.mark.parametrize(("turn", "kept"), [(10.0, 660.0), (DAY, DAY + 60)])
def test_a_key_is_kept_for_its_passes_and_a_turn_at_least(turn: float, kept: float) -> None:
    assert keep_seconds(turn) == kept


async def test_the_settings_decide_on_turn_and_prefix(redis_url: str, redis: Client) -> None:
    settings = Settings.from_env({"PASS_ROTATE_SECONDS": "60", "REDIS_KEY_PREFIX": "shop:"})
    async with signing_keys_of(KeyRing(), Redis(redis_url, 1.0), settings, ignore_calls) as keys:
        await keys.document()
        assert 59 < (keys.ring.seconds_to_next_turn() or 0) <= 60
    assert await redis.keys("*") == ["shop:gw:signing-keys"]
    private = "".join(await redis.hvals("shop:gw:signing-keys"))
    assert private.count("BEGIN PRIVATE KEY") == 2
