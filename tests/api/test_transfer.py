"""Taking a place to another device, over real HTTP."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import urlsplit

import pytest

from gateway.context import CODE_GUESSES, OBSERVERS
from gateway.waiting_room.transfers import CONSONANTS
from tests.api.test_queue_visitors import ROUTES, Browser
from tests.middleware.rig import raw
from tests.support.gateway import Answer, Gateways, Running, Stream

TRANSFER = "/api/v1/queue/transfer"
LINEUP, STATUS = "/api/v1/queue/lineup?room=open", "/api/v1/queue/status?room=open"


async def waiting(gateway: Running, room: str = "open") -> Browser:
    """A visitor who has lined up."""
    browser = Browser(gateway)
    await browser.arrive()
    await browser("POST", f"/api/v1/queue/lineup?room={room}")
    return browser


async def arrived(gateway: Running) -> Browser:
    browser = Browser(gateway)
    await browser.arrive()
    return browser


async def code_of(browser: Browser, room: str = "open") -> str:
    return str((await browser("POST", f"{TRANSFER}?room={room}")).json["data"]["code"])


async def use(browser: Browser, code: str, room: str = "open") -> Answer:
    return await browser("POST", f"{TRANSFER}/{code}?room={room}")


async def test_a_place_goes_to_another_device_with_its_ticket(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    await waiting(gateway)
    old, behind, new = await waiting(gateway), await waiting(gateway), Browser(gateway)
    given = await old("POST", f"{TRANSFER}?room=open")
    data = given.json["data"]
    assert re.fullmatch("[bcdfghjkmnpqrstvwxz]{8}", data["code"])
    assert data["url"] == f"{gateway.base}{TRANSFER}/{data['code']}?room=open"
    assert 590 < data["expiresAt"] / 1000 - time.time() < 601
    parts = urlsplit(data["url"])
    address = f"{parts.path}?{parts.query}"
    async with old.stream("/api/v1/queue/stream?room=open") as stream:  # type: ignore[attr-defined]
        assert isinstance(stream, Stream)
        await stream.until("STATUS_UPDATE")
        # The new device has no cookie yet; the code stays good.
        first = await new("POST", address)
        assert (first.status, first.code) == (401, "COOKIE_REQUIRED")
        answer = await new("POST", address)
        assert (answer.json["state"], answer.json["data"]["userQueuePosition"]) == ("WAITING", 1)
        assert (await stream.until("ERROR")).data["code"] == "MOVED"
    assert (await old("GET", STATUS)).code == "NOT_IN_QUEUE"
    assert (await behind("GET", STATUS)).json["data"]["userQueuePosition"] == 2
    history = (await new("GET", "/api/v1/queue/history?room=open")).json["data"]
    assert [entry["event"] for entry in history] == ["MOVED"]
    again = await new("POST", address)
    assert (again.status, again.code) == (404, "TRANSFER_CODE_INVALID")
    moved = gateway.app[OBSERVERS].metrics.registry.get_sample_value(
        "gateway_places_moved_total", {"room": "open", "to": "device"}
    )
    assert moved == 1


async def test_a_slot_goes_to_another_device(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    old, new = await waiting(gateway), await arrived(gateway)
    assert (await use(new, (await code_of(old)).upper())).json["state"] == "ALLOWED_IN"
    assert (await new("POST", "/shop/orders")).status == 200
    assert (await old("POST", "/shop/orders")).code == "NOT_IN_QUEUE"


async def test_a_get_uses_no_code_and_says_nothing_of_any(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    old, new = await waiting(gateway), await arrived(gateway)
    code = await code_of(old)
    answers = [await gateway.nobody("GET", f"{TRANSFER}/{each}?room=open") for each in (code, "b" * 8)]
    assert [answer.status for answer in answers] == [200] * 2
    assert len({answer.json["message"] for answer in answers}) == 1
    assert all("Set-Cookie" not in answer.headers for answer in answers)
    assert (await gateway.nobody("HEAD", f"{TRANSFER}/{code}?room=open")).status == 200
    assert (await use(new, code)).status == 200


async def test_two_devices_at_a_time_use_a_code_once(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    old = await waiting(gateway)
    new = [await arrived(gateway) for _ in range(5)]
    code = await code_of(old)
    answers = await asyncio.gather(*(use(each, code) for each in new))
    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404, 404]
    states = [(await each("GET", STATUS)).status for each in new]
    assert sorted(states) == [200, 404, 404, 404, 404]


async def test_after_ten_wrong_codes_a_right_one_has_to_wait_too(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1")
    old, new = await waiting(gateway), await arrived(gateway)
    code = await code_of(old)
    for number in range(10):
        wrong = ("b" * 8, "", "bcd", "../x", "B" * 9, "é", code[:-1])[number % 7] or "a"
        assert (await use(new, wrong.replace("/", "%252F"))).status in (400, 404)
    new.headers["X-Forwarded-For"] = "192.0.2.9"
    for _ in range(10):
        assert (await use(new, "b" * 8)).code == "TRANSFER_CODE_INVALID"
    for each in ("b" * 8, code):
        refused = await use(new, each)
        assert (refused.status, refused.code) == (429, "TOO_MANY_WRONG_CODES")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    new.headers["X-Forwarded-For"] = "192.0.2.10"
    assert (await use(new, code)).status == 200
    assert len(gateway.app[CODE_GUESSES]) >= 1


async def test_a_code_is_for_its_room_and_as_long_as_there_is_a_place(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    old, new = await waiting(gateway), await arrived(gateway)
    code = await code_of(old)
    assert (await use(new, code, room="both")).code == "TRANSFER_CODE_INVALID"
    await old("POST", "/api/v1/queue/leave?room=open")
    assert (await use(new, code)).code == "TRANSFER_CODE_INVALID"
    assert (await old("POST", f"{TRANSFER}?room=open")).code == "NOT_IN_QUEUE"


async def test_the_own_device_keeps_place_and_code(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    old, new = await waiting(gateway), await arrived(gateway)
    code = await code_of(old)
    assert (await use(old, code)).json["state"] == "ALLOWED_IN"
    assert (await code_of(old)) == code
    assert (await use(new, code)).status == 200


async def test_a_users_place_belongs_to_the_login(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    kim = gateway.user("kim")
    for room in ("both", "users"):
        await kim.lineup(room=room)
        answer = await kim("POST", f"{TRANSFER}?room={room}")
        assert (answer.status, answer.code) == (403, "TRANSFER_NOT_ALLOWED")
    # A visitor's place may become that of a user who has signed in on the other device.
    old = await waiting(gateway, "both")
    answer = await gateway.user("lee")("POST", f"{TRANSFER}/{await code_of(old, 'both')}?room=both")
    assert answer.json["state"] == "WAITING"


@pytest.mark.parametrize(
    "lines", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "", "Origin": "null"}]
)
async def test_a_foreign_page_gives_and_takes_no_place(gateways: Gateways, lines: dict[str, str]) -> None:
    gateway = await gateways.start(ROUTES)
    old, new = await waiting(gateway), await waiting(gateway)
    code = await code_of(old)
    assert (await old("POST", f"{TRANSFER}?room=open", headers=lines)).code == "CSRF_REJECTED"
    answer = await new("POST", f"{TRANSFER}/{code}?room=open", headers=lines)
    assert answer.code == "CSRF_REJECTED"
    assert (await old("GET", STATUS)).status == 200


async def test_the_log_has_no_code(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    lines: list[str] = []
    log = gateway.app[OBSERVERS].access_log
    log.enabled, log.write = True, lambda **facts: lines.append(str(facts))  # type: ignore[method-assign]
    old, new = await waiting(gateway), await arrived(gateway)
    code = await code_of(old)
    preflight = {"Origin": "https://a.test", "Access-Control-Request-Method": "POST"}
    for method in ("GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PURGE", "COPY"):
        for path in (f"{TRANSFER}/{code}", f"{TRANSFER}/{code}/", f"{TRANSFER}/{code}/more"):
            await gateway.nobody(method, f"{path}?room=open")
            await gateway.nobody(method, path, headers=preflight)
    for path in (
        f"/api/v1/queue/%74ransfer/{code}",
        f"/api//v1/queue/transfer//{code}",
        f"/API/v1/Queue/TRANSFER/{code.upper()}",
        f"/api/v1/queue/x/../transfer/{code}",
        f"/api/v1/queue/transfer/{code};x=y",
        f"/api/v1/queue/transfer%2F{code}",
    ):
        await raw(gateway, b"POST " + path.encode())
    await use(new, code)
    assert len(lines) > 60
    assert any("/api/v1/queue/transfer/…" in line for line in lines)
    assert code not in "".join(lines).lower()


async def test_a_place_that_arrives_counts_at_the_new_address(gateways: Gateways) -> None:
    routes = ROUTES.replace("{identity: visitor}", "{identity: visitor, places_per_address: 1}")
    gateway = await gateways.start(routes, trusted_proxies="127.0.0.1")
    old, new = (
        Browser(gateway, {"X-Forwarded-For": "192.0.2.1"}),
        Browser(gateway, {"X-Forwarded-For": "192.0.2.2"}),
    )
    for each in (old, new):
        await each.arrive()
    await old("POST", LINEUP)
    assert (await use(new, await code_of(old))).status == 200
    third = Browser(gateway, {"X-Forwarded-For": "192.0.2.2"})
    await third.arrive()
    assert (await third("POST", LINEUP)).code == "TOO_MANY_PLACES"


@pytest.mark.parametrize("code", ["null,null", "bcdfghj", "bcdfghjkm", "aeiouaei"])
async def test_what_no_code_looks_like_is_not_explained(gateways: Gateways, code: str) -> None:
    gateway = await gateways.start(ROUTES)
    assert (await gateway.nobody("GET", f"{TRANSFER}/bcdfghjk")).status == 200
    assert (await gateway.nobody("GET", f"{TRANSFER}/BCDFGHJK")).status == 200
    assert (await gateway.nobody("GET", f"{TRANSFER}/{code}")).code == "TRANSFER_CODE_INVALID"


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("shop.example", "8443", "shop.example:8443"),
        ("shop.example", "443", "shop.example"),
        ("shop.example:8443", "8443", "shop.example:8443"),
        ("[2001:db8::1]", "8443", "[2001:db8::1]:8443"),
    ],
)
async def test_the_address_has_the_port_that_a_proxy_reports(
    gateways: Gateways, host: str, port: str, authority: str
) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1")
    reported = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Forwarded-Port": port}
    old = Browser(gateway, reported)
    await old.arrive()
    await old("POST", LINEUP)
    data = (await old("POST", f"{TRANSFER}?room=open")).json["data"]
    assert data["url"] == f"https://{authority}{TRANSFER}/{data['code']}?room=open"


async def test_a_place_does_not_come_to_an_address_that_has_its_places(gateways: Gateways) -> None:
    routes = ROUTES.replace("{identity: visitor}", "{identity: visitor, places_per_address: 1}")
    gateway = await gateways.start(routes, trusted_proxies="127.0.0.1")

    async def at(number: int) -> Browser:
        browser = Browser(gateway, {"X-Forwarded-For": f"192.0.2.{number}"})
        await browser.arrive()
        return browser

    old, other, new, free = await at(1), await at(2), await at(2), await at(3)
    for each in (old, other):
        assert (await each("POST", LINEUP)).status == 200
    code = await code_of(old)
    for _ in range(12):
        refused = await use(new, code)
        assert (refused.status, refused.code) == (429, "TOO_MANY_PLACES")
    assert (await old("GET", STATUS)).status == 200
    assert (await use(free, code)).status == 200
    # Within one address the place is none more.
    beside = await at(3)
    assert (await use(beside, await code_of(free))).status == 200
    assert (await free("GET", STATUS)).code == "NOT_IN_QUEUE"


async def test_many_guesses_at_a_time_count_like_one_after_the_other(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1")
    old, new = await waiting(gateway), await arrived(gateway)
    new.headers["X-Forwarded-For"] = "192.0.2.9"
    code = await code_of(old)
    answers = await asyncio.gather(
        *(use(new, "bcdfgh" + a + b) for a in CONSONANTS[:8] for b in CONSONANTS[:8])
    )
    assert sum(answer.status == 404 for answer in answers) == 10
    assert sum(answer.code == "TOO_MANY_WRONG_CODES" for answer in answers) == len(answers) - 10
    # Right codes are no guesses, so any number of them is served.
    for device in (new, old):
        device.headers["X-Forwarded-For"] = "192.0.2.10"
    assert (await use(new, code)).status == 200
    for _ in range(6):
        for giver, taker in ((new, old), (old, new)):
            assert (await use(taker, await code_of(giver))).status == 200
