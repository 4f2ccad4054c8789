"""What is checked before a visitor gets a place, over real HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.auth import challenge
from gateway.context import CHALLENGES, OBSERVERS, ROOMS
from gateway.errors import QueueUnavailable
from gateway.routing.spec.value_types import CHALLENGE_TIMEOUT
from gateway.waiting_room.keys import RoomKeys
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening
from tests.support.waiting import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
ROUTES = "routes: []\nrooms: {open: {identity: visitor, %s}, both: {identity: either, %s}}\n"
BY_NAME = """
routes: [{id: shop, uri: "%(service)s", predicates: ["Path=/shop/**"]}]
gates: [{room: "concert-{id}", calls: ["GET /shop/{id:[0-9]+}"]}]
rooms: {"concert-*": {identity: visitor, lineup: implicit, challenge: {url: "CHALLENGE"}}}
"""
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
    delay: float = 0.0
    """How long each answer takes, in seconds."""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not status:
            await self.released.wait()
        await asyncio.sleep(self.delay)
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


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
@pytest.mark.parametrize("at_gate", [True, False], ids=["gate", "lineup"])
async def test_a_visitor_whom_the_challenge_refuses_makes_no_room(
    gateways: Gateways, fast_path: bool, at_gate: bool
) -> None:
    async with doorman(403, 403, 204) as man:
        gateway = await gateways.start(BY_NAME.replace("CHALLENGE", man.url), fast_path=fast_path)
        ann = Browser(gateway)

        async def lineup(room: str) -> str:
            call = (
                ("GET", f"/shop/{room}") if at_gate else ("POST", f"/api/v1/queue/lineup?room=concert-{room}")
            )
            answer = await ann(*call)
            return "" if answer.status == 200 else answer.code

        def made() -> list[str]:
            return [room.name for room in gateway.app[ROOMS].named]

        assert await lineup("1") == "COOKIE_REQUIRED"
        assert [await lineup("1"), await lineup("2")] == ["CHALLENGE_REQUIRED"] * 2
        assert made() == []
        assert [await lineup("3"), await lineup("3")] == ["", ""]
        assert made() == ["concert-3"]
        # Of one lineup the service is asked once, and of a visitor with a place no more.
        assert [each["room"] for each in man.asked] == ["concert-1", "concert-2", "concert-3"]


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


async def test_many_lineups_at_a_time_pass_no_service_that_refuses_them(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a free connection must not count as a service that does not answer."""
    monkeypatch.setattr(challenge, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(challenge, "MAX_WAITING", 8)
    async with doorman(403) as man:
        man.delay = 0.1
        gateway = await gateways.start(challenged(man, ", timeout: 1s"))
        visitors = [await arrived(gateway) for _ in range(30)]
        answers = await asyncio.gather(*(each("POST", LINEUP) for each in visitors))
        assert {answer.status for answer in answers} == {403, 503}
        assert len(man.asked) >= 12
        busy = [answer for answer in answers if answer.status == 503]
        assert {answer.code for answer in busy} == {"QUEUE_UNAVAILABLE"}
        assert {answer.headers["Retry-After"] for answer in busy} == {"5"}
        # The service is free again.
        assert (await visitors[0]("POST", LINEUP)).code == "CHALLENGE_REQUIRED"
        counted = gateway.app[OBSERVERS].metrics.registry.get_sample_value(
            "gateway_challenges_total", {"room": "open", "outcome": "busy"}
        )
        assert counted == len(busy)


async def test_one_client_leaves_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor who is refused may ask again and again."""
    monkeypatch.setattr(challenge, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(challenge, "MAX_WAITING", 4)
    monkeypatch.setattr(challenge, "MAX_WAITING_OF_CLIENT", 2)
    turns = challenge.Turns()
    assert await turns.take("one")
    tasks = []
    for client, refused in (("one", False), ("one", False), ("one", True), ("two", False), ("three", False)):
        if refused:
            assert not await turns.take(client)
        else:
            tasks.append(asyncio.create_task(turns.take(client)))
            await asyncio.sleep(0)
    assert not await turns.take("four")
    for task in tasks:
        turns.give_back()
        assert await task
    assert not turns.waiting


async def test_a_site_with_many_networks_leaves_turns_to_others(gateways: Gateways) -> None:
    async with doorman(0) as man:
        gateway = await gateways.start(challenged(man, ", timeout: 5s"), trusted_proxies="127.0.0.1")
        neighbours = [await arrived(gateway, f"2001:db8:1:{number}::1") for number in range(4)]
        other = await arrived(gateway, "2001:db8:2::1")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(challenge, "MAX_CONNECTIONS", 1)
            patched.setattr(challenge, "MAX_WAITING_OF_SITE", 2)
            asked = [asyncio.create_task(neighbours[number]("POST", LINEUP)) for number in range(3)]
            [turns] = await eventually(lambda: list(gateway.app[CHALLENGES]._turns.values()))
            await eventually(lambda: turns.waiting["2001:db8:1::/48"] == 2)
            refused = await neighbours[3]("POST", LINEUP)
            assert (refused.status, refused.code) == (503, "QUEUE_UNAVAILABLE")
            asked.append(asyncio.create_task(other("POST", LINEUP)))
            await eventually(lambda: turns.waiting["2001:db8:2::/48"] == 1)
            man.released.set()
            assert {(await each).status for each in asked} == {200}
        assert not turns.waiting


async def test_a_service_that_hangs_holds_up_no_question_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(challenge, "MAX_WAITING", 0)
    asked: dict[str, Any] = {"client": "c", "seconds": 20.0, "fail_open": False}
    challenges = challenge.Challenges()
    async with doorman(0) as hanging, doorman(204) as other, challenges.running():
        slow = [
            asyncio.create_task(challenges.ask(hanging.url, "one", f"visitor-{each}", "c", **asked))
            for each in range(2)
        ]
        await eventually(lambda: len(hanging.asked) == 2)
        with pytest.raises(QueueUnavailable):
            await challenges.ask(hanging.url, "third", "visitor-3", "c", **asked)
        await challenges.ask(other.url, "two", "visitor-4", "c", **asked)
        hanging.released.set()
        await asyncio.gather(*slow)


async def test_a_question_waits_for_its_turn_for_a_bounded_time(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(challenge, "MAX_WAIT_SECONDS", 0.05)
    async with doorman(0) as man:
        gateway = await gateways.start(challenged(man, ", timeout: 5s"))
        first, second = await arrived(gateway), await arrived(gateway)
        slow = asyncio.create_task(first("POST", LINEUP))
        while not man.asked:
            await asyncio.sleep(0.01)
        refused = await second("POST", LINEUP)
        assert (refused.status, refused.code) == (503, "QUEUE_UNAVAILABLE")
        man.answers = [204]
        man.released.set()
        assert (await slow).status == 200
        assert (await second("POST", LINEUP)).status == 200


def test_a_question_ends_while_its_place_is_kept() -> None:
    longest = CHALLENGE_TIMEOUT.bounds["maximum"]
    assert isinstance(longest, int)
    reserve = (DEPLOY.parent / "lua_scripts/reserve.lua").read_text(encoding="utf-8")
    assert f"RESERVED_MS = {10_000}" in reserve
    assert challenge.MAX_WAIT_SECONDS + longest < 10


@pytest.mark.parametrize(
    ("file", "limit", "places"),
    [
        ("nginx/waiting-room.conf", r"location /api/v1/queue/ \{[^}]*proxy_read_timeout (\d+)s;", 1),
        ("forward-auth/nginx.conf", r"location = /\.queue/\w+ \{[^}]*proxy_read_timeout (\d+)s;", 2),
        ("forward-auth/Caddyfile", r"response_header_timeout (\d+)s", 1),
        ("forward-auth/envoy.yaml", r"server_uri: .*timeout: (\d+)s\}", 1),
    ],
)
def test_shipped_proxies_wait_for_the_longest_question(file: str, limit: str, places: int) -> None:
    """Otherwise the service of a challenge that is slow makes NGINX take sound gateways for gateways that hang."""
    longest = CHALLENGE_TIMEOUT.bounds["maximum"]
    assert isinstance(longest, int)
    limits = re.findall(limit, (DEPLOY / file).read_text(encoding="utf-8"))
    assert len(limits) == places
    # And a second for Redis and the gateway.
    assert all(int(each) >= challenge.MAX_WAIT_SECONDS + longest + 1 for each in limits)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("eligible: {claim: tier, values: [gold]}", "NOT_ELIGIBLE"),
        ("opens_at: 2999-01-01T00:00:00Z", "ROOM_CLOSED"),
        ("capacity: 0, max_waiting: 1", "ROOM_FULL"),
    ],
)
async def test_refused_visitors_leave_the_bound_of_their_address_to_others(
    gateways: Gateways, more: str, code: str
) -> None:
    gateway = await gateways.start(routes(f"places_per_address: 1, {more}"), trusted_proxies="127.0.0.1")
    if code == "ROOM_FULL":
        await (await arrived(gateway, "192.0.2.9"))("POST", LINEUP)
    for _ in range(3):
        assert (await (await arrived(gateway))("POST", LINEUP)).code == code


async def test_a_visitor_whom_the_challenge_refuses_leaves_the_bound_to_others(gateways: Gateways) -> None:
    async with doorman(403, 403, 204) as man:
        gateway = await gateways.start(
            routes(f"places_per_address: 1, challenge: {{url: '{man.url}'}}"), trusted_proxies="127.0.0.1"
        )
        codes = [(await (await arrived(gateway))("POST", LINEUP)).status for _ in range(4)]
        assert codes == [403, 403, 200, 429]
