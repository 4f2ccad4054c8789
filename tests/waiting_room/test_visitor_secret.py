from __future__ import annotations

import pytest
from redis.asyncio import Redis as Client

from gateway.errors import QueueUnavailable
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.visitor_secret import VisitorSecretStore, visitor_secret_key

ONE, OTHER = "1" * 43, "2" * 43


async def test_all_instances_get_the_first_secret(redis_url: str, redis: Client) -> None:
    stores = [VisitorSecretStore(Redis(redis_url, 1.0), load_all(), "shop:") for _ in range(2)]
    assert await stores[0].load(ONE) == ONE
    assert await stores[1].load(OTHER) == ONE
    assert await redis.keys("*") == [visitor_secret_key("shop:")] == ["shop:gw:visitor-secret"]
    assert await redis.ttl("shop:gw:visitor-secret") == -1
    # Redis has lost its data: the secret that an instance knows comes back.
    await redis.flushall()
    assert await stores[1].load(ONE) == ONE
    for store in stores:
        await store.close()


@pytest.mark.parametrize("stored", ["", "short", "x" * 31])
async def test_a_secret_that_may_be_guessed_is_replaced(redis_url: str, redis: Client, stored: str) -> None:
    await redis.set("gw:visitor-secret", stored)
    store = VisitorSecretStore(Redis(redis_url, 1.0), load_all(), "")
    assert await store.load(ONE) == ONE
    assert await redis.get("gw:visitor-secret") == ONE
    with pytest.raises(QueueUnavailable):
        await store.load("short")
    await redis.delete("gw:visitor-secret")
    await redis.lpush("gw:visitor-secret", ONE)
    with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
        await store.load(ONE)
    await store.close()
