from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis as Client

from gateway.errors import QueueUnavailable
from gateway.waiting_room import transfers
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.transfers import CONSONANTS, Holder, TransferStore, new_code


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[TransferStore]:
    made = TransferStore(Redis(redis_url, 1.0), load_all(), "shop:")
    yield made
    await made.close()


def test_codes_are_eight_consonants_drawn_at_random() -> None:
    codes = {new_code() for _ in range(200)}
    assert len(codes) == 200
    assert all(len(code) == 8 and set(code) <= set(CONSONANTS) for code in codes)
    assert not set(CONSONANTS) & set("aeiouyl01")


async def test_a_code_is_good_once_for_its_room(store: TransferStore) -> None:
    code, seconds = await store.offer("vip", "ann")
    assert 599 < seconds <= 600
    assert await store.holder("vip", code) == Holder("ann")
    assert await store.holder("default", code) is None
    assert await store.holder("vip", new_code()) is None
    assert await store.redeem("vip", code, Holder("bob")) is False
    assert await store.redeem("vip", code, Holder("ann")) is True
    assert await store.redeem("vip", code, Holder("ann")) is False
    assert await store.holder("vip", code) is None


async def test_a_visitor_has_one_code_at_a_time(store: TransferStore, redis: Client) -> None:
    first = await store.offer("vip", "ann")
    assert (await store.offer("vip", "ann")).code == first.code
    others = {(await store.offer(*each)).code for each in (("vip", "bob"), ("default", "ann"))}
    assert len({first.code, *others}) == 3
    # After it was used, there is a new one.
    await store.redeem("vip", first.code, Holder("ann"))
    assert (await store.offer("vip", "ann")).code != first.code


async def test_keys_expire_and_show_neither_code_nor_visitor(store: TransferStore, redis: Client) -> None:
    code, _ = await store.offer("vip", "ann")
    keys = await redis.keys("*")
    assert len(keys) == 3
    for key in keys:
        assert key.startswith("shop:gw:{transfers}:")
        assert code not in key
        assert "ann" not in key
        assert 590_000 < await redis.pttl(key) <= 600_000


async def test_a_code_that_another_visitor_has_is_not_given_again(
    store: TransferStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["bcdfghjk", "bcdfghjk", "mnpqrstv", *["bcdfghjk"] * 4])
    monkeypatch.setattr(transfers, "new_code", lambda: next(drawn))
    assert (await store.offer("vip", "ann")).code == "bcdfghjk"
    assert (await store.offer("vip", "bob")).code == "mnpqrstv"
    with pytest.raises(QueueUnavailable):
        await store.offer("vip", "cid")
    assert await store.holder("vip", "bcdfghjk") == Holder("ann")


async def test_of_codes_without_end_the_last_are_kept(
    store: TransferStore, redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor can leave and come back as another one, and the codes outlive the places."""
    monkeypatch.setattr(transfers, "MAX_CODES", 3)
    codes = [(await store.offer("vip", f"v{at}")).code for at in range(5)]
    found = [await store.holder("vip", code) for code in codes]
    assert found == [None, None, Holder("v2"), Holder("v3"), Holder("v4")]
    # A code that is asked for again is no further one.
    assert (await store.offer("vip", "v2")).code == codes[2]
    assert len(await redis.keys("*")) == 7
    # One that has ended can be had anew.
    assert await store.holder("vip", (await store.offer("vip", "v0")).code) == Holder("v0")


async def test_a_code_leads_to_the_page_where_it_was_asked_for(store: TransferStore) -> None:
    given = await store.offer("vip", "ann", "/cart?a=1")
    found = await store.holder("vip", given.code)
    assert found == Holder("ann", "/cart?a=1")
    assert await store.redeem("vip", given.code, found) is True
