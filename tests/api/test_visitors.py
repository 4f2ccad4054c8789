"""What is checked before a visitor gets a place, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.context import OBSERVERS
from gateway.waiting_room.keys import RoomKeys
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening

ROUTES = "routes: []\nrooms: {open: {identity: visitor, %s}, both: {identity: either, %s}}\n"
LINEUP, STATUS = "/api/v1/queue/lineup?room=open", "/api/v1/queue/status?room=open"


def routes(settings: str) -> str:
    return ROUTES % (settings, settings)


async def arrived(gateway: Running, address: str = "192.0.2.1") -> Browser:
    browser = Browser(gateway, {"X-Forwarded-For": address})
    await browser.arrive()
    return browser


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
    ],
)
async def test_places_are_bounded_by_address(gateways: Gateways, first: str, same: str, other: str) -> None:
    gateway = await gateways.start(routes("places_per_address: 2"), trusted_proxies="127.0.0.1")
    for address in (first, same):
        assert (await (await arrived(gateway, address))("POST", LINEUP)).status == 200
    third = await arrived(gateway, same)
    refused = await third("POST", LINEUP)
    assert (refused.status, refused.code) == (429, "TOO_MANY_PLACES")
    assert (await third("GET", STATUS)).code == "NOT_IN_QUEUE"
    assert (await (await arrived(gateway, other))("POST", LINEUP)).status == 200
    # Another room has places of its own, and users with a token are not counted.
    assert (await third("POST", "/api/v1/queue/lineup?room=both")).status == 200
    for number in range(4):
        user = gateway.user(f"user-{number}")
        answer = await user("POST", "/api/v1/queue/lineup?room=both", headers={"X-Forwarded-For": same})
        assert answer.status == 200


async def test_who_leaves_makes_room_for_the_next(gateways: Gateways, redis: Redis) -> None:
    gateway = await gateways.start(routes("places_per_address: 1"), trusted_proxies="127.0.0.1")
    first, second = await arrived(gateway), await arrived(gateway)
    assert (await first("POST", LINEUP)).status == 200
    assert (await first("POST", LINEUP)).status == 200
    assert (await second("POST", LINEUP)).status == 429
    await first("POST", "/api/v1/queue/leave?room=open")
    # For ten seconds after the lineup the place counts as taken; here they have passed.
    key = RoomKeys("", "open").neighbours("192.0.2.1")
    [(visitor, at)] = await redis.zrange(key, 0, -1, withscores=True)
    await redis.zadd(key, {visitor: at - 10_000})
    assert (await second("POST", LINEUP)).status == 200


@dataclass
class Doorman:
    """A challenge's service. ``answers``: statuses in turn, the last one for good; 0: none comes."""

    answers: list[int] = field(default_factory=lambda: [204])
    asked: list[dict[str, Any]] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not status:
            await self.released.wait()
        headers = {"Location": "/elsewhere"} if status == 302 else None
        return web.Response(status=status or 204, headers=headers)


@asynccontextmanager
async def doorman(*answers: int) -> AsyncIterator[Doorman]:
    man = Doorman(list(answers))
    app = web.Application()
    app.router.add_post("/check", man.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=0.1)) as base:
        man.url = f"{base}/check"
        try:
            yield man
        finally:
            man.released.set()


def challenged(man: Doorman, more: str = "") -> str:
    return routes(f"challenge: {{url: '{man.url}'{more}}}")


@pytest.mark.parametrize(
    ("status", "passes"), [(200, True), (204, True), (403, False), (302, False), (500, False)]
)
async def test_a_service_decides_who_gets_a_place(gateways: Gateways, status: int, passes: bool) -> None:
    async with doorman(status) as man:
        gateway = await gateways.start(challenged(man), trusted_proxies="127.0.0.1")
        ann = await arrived(gateway)
        answer = await ann("POST", LINEUP)
        if passes:
            assert answer.json["state"] == "ALLOWED_IN"
            # Who has a place is not asked again.
            assert (await ann("POST", LINEUP)).status == 200
        else:
            assert (answer.status, answer.code) == (403, "CHALLENGE_REQUIRED")
            assert (await ann("GET", STATUS)).code == "NOT_IN_QUEUE"
        assert man.asked == [{"room": "open", "visitor": ann.id, "address": "192.0.2.1"}]
        counted = gateway.app[OBSERVERS].metrics.registry.get_sample_value(
            "gateway_challenges_total", {"room": "open", "outcome": "passed" if passes else "refused"}
        )
        assert counted == 1


async def test_a_user_with_a_token_is_not_asked_about(gateways: Gateways) -> None:
    async with doorman(403) as man:
        gateway = await gateways.start(challenged(man))
        assert (await gateway.user("kim").lineup(room="both")).status == 200
        assert man.asked == []


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        (", timeout: 50ms", 200, None),
        (", timeout: 50ms, fail: open", 200, None),
        (", timeout: 50ms, fail: closed", 503, "QUEUE_UNAVAILABLE"),
    ],
)
async def test_a_service_that_does_not_answer_fails_as_the_file_says(
    gateways: Gateways, more: str, status: int, code: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with doorman(0, 0, 204) as man:
        gateway = await gateways.start(challenged(man, more))
        for _ in range(2):
            answer = await (await arrived(gateway))("POST", LINEUP)
            assert answer.status == status
            assert code is None or answer.code == code
        assert caplog.text.count("does not answer") == 1
        assert (await (await arrived(gateway))("POST", LINEUP)).status == 200


async def test_a_service_that_is_away_fails_too(gateways: Gateways) -> None:
    for fail, status in (("open", 200), ("closed", 503)):
        away = Doorman(url="http://127.0.0.1:1/check")
        gateway = await gateways.start(challenged(away, f", fail: {fail}"))
        assert (await (await arrived(gateway))("POST", LINEUP)).status == status
