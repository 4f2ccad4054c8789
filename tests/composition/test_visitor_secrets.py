"""The secrets of visitors' cookies over real Redis: one for all instances, through outages and losses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from gateway.app import ROUTE_SOURCES, VISITOR_SECRETS
from gateway.auth.visitors import VisitorCookies
from gateway.composition import visitor_secrets
from gateway.composition.visitor_secrets import visitor_secrets_of
from gateway.context import CONFIGURATION
from gateway.waiting_room.redis.connection import Redis, ignore_calls
from tests.support.gateway import Gateways, Running, settings_for
from tests.support.redis_server import StartRedis
from tests.support.waiting import eventually

ROUTES = 'routes: []\nrooms: {default: {identity: "visitor"}}\n'
STATUS = ("GET", "/api/v1/queue/status")
KEY = "gw:visitor-secret"


async def cookie_of(gateway: Running) -> str:
    answer = await gateway.nobody(*STATUS)
    assert answer.code == "COOKIE_REQUIRED"
    return answer.headers["Set-Cookie"].partition(";")[0]


async def known(gateway: Running, cookie: str) -> bool:
    return (await gateway.nobody(*STATUS, headers={"Cookie": cookie})).code == "NOT_IN_QUEUE"


async def test_instances_share_one_secret(gateways: Gateways, redis: Client) -> None:
    one, other = await gateways.start(ROUTES), await gateways.start(ROUTES)
    cookie = await cookie_of(one)
    assert await known(other, cookie)
    assert len(await redis.get(KEY)) == 43
    # A gateway that starts later, too.
    assert await known(await gateways.start(ROUTES), cookie)


async def test_without_rooms_for_visitors_there_is_no_secret(gateways: Gateways, redis: Client) -> None:
    gateway = await gateways.start("routes: []\n")
    assert (await gateway.nobody(*STATUS)).code == "TOKEN_REQUIRED"
    assert await redis.exists(KEY) == 0
    gateway.routes_file.write_text(ROUTES, encoding="utf-8")
    gateway.app[ROUTE_SOURCES].reload()
    await eventually(lambda: bool(gateway.app[CONFIGURATION].tables.current.table.visitor_rooms))
    assert await known(gateway, await cookie_of(gateway))
    assert await redis.exists(KEY) == 1


async def test_secrets_of_the_settings_are_rotated_without_redis(gateways: Gateways, redis: Client) -> None:
    first, second = "first-secret-of-the-tests", "second-secret-of-the-tests"
    old = await gateways.start(ROUTES, visitor_secrets=first)
    both = await gateways.start(ROUTES, visitor_secrets=f"{second}, {first}")
    new = await gateways.start(ROUTES, visitor_secrets=second)
    cookie = await cookie_of(old)
    assert [await known(each, cookie) for each in (old, both, new)] == [True, True, False]
    answer = await both.nobody(*STATUS, headers={"Cookie": cookie})
    renewed = answer.headers["Set-Cookie"].partition(";")[0]
    assert await known(new, renewed)
    assert await redis.exists(KEY) == 0


async def test_a_secret_is_replaced_at_one_instance_after_the_other(gateways: Gateways) -> None:
    """The three steps that docs/reference/auth.md has: whichever instance is asked, visitors stay who they are."""
    first, second = "first-secret-of-the-tests", "second-secret-of-the-tests"
    steps = (first, f"{first}, {second}", f"{second}, {first}", second)
    instances = [await gateways.start(ROUTES, visitor_secrets=each) for each in steps]
    # The last step comes when no cookie of the old secret is left.
    for before, after in pairwise(instances[:-1]):
        for giver, asked in ((before, after), (after, before)):
            assert await known(asked, await cookie_of(giver))
    for giver, asked in ((instances[-2], instances[-1]), (instances[-1], instances[-2])):
        assert await known(asked, await cookie_of(giver))


async def test_the_first_secret_of_an_operator_costs_no_visitor_the_place(
    gateways: Gateways, redis: Client
) -> None:
    made = await gateways.start(ROUTES)
    cookie = await cookie_of(made)
    given = await gateways.start(ROUTES, visitor_secrets="first-secret-of-the-tests")
    assert await known(given, cookie)
    answer = await given.nobody(*STATUS, headers={"Cookie": cookie})
    renewed = answer.headers["Set-Cookie"].partition(";")[0]
    assert await known(given, renewed)
    assert not await known(made, renewed)
    # Without the key it verifies no longer.
    await redis.delete(KEY)
    await given.app[VISITOR_SECRETS].refresh()
    assert not await known(given, cookie)
    assert await known(given, renewed)


async def test_a_redis_that_is_away_at_the_start_is_asked_again(
    start_redis: StartRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(visitor_secrets, "_RETRY_SECONDS", (0.05, 0.05))
    server = start_redis()
    server.kill()
    settings = settings_for(server.url, "http://x/keys", tmp_path, redis_timeout_seconds="0.2")
    cookies = VisitorCookies()
    async with visitor_secrets_of(cookies, Redis(server.url, 0.2), settings, ignore_calls) as kept:
        await kept.need()
        assert not cookies.known
        server.start()
        await eventually(lambda: cookies.known)
    assert caplog.text.count("can't be read") == 1


async def test_a_redis_that_lost_its_data_gets_the_secret_again(redis_url: str, redis: Client) -> None:
    settings = settings_for(redis_url, "http://x/keys", Path("x"))
    cookies = VisitorCookies()
    async with visitor_secrets_of(cookies, Redis(redis_url, 1.0), settings, ignore_calls) as kept:
        await kept.need()
        secret = await redis.get(KEY)
        await redis.flushall()
        await kept.refresh()
        assert await redis.get(KEY) == secret
        # Another instance was first with one of its own: that one signs, and the old one still verifies.
        old = cookies.new(secure=False).partition(";")[0]
        await redis.set(KEY, "another-secret-" + "x" * 32)
        await kept.refresh()
        found = cookies.find(_Cookie(old), secure=False).visitor
        assert found is not None
        assert found.stale
        for number in range(6):
            await redis.set(KEY, f"secret-{number}-" + "x" * 32)
            await kept.refresh()
        assert cookies.find(_Cookie(old), secure=False).visitor is None


class _Cookie:
    """Headers of a request with this cookie."""

    def __init__(self, line: str) -> None:
        self._line = line

    def getall(self, key: str, default: object, /) -> list[str]:
        return [self._line]
