"""Passes of real gateways: in answers, events and cookies, and for services; with ``PASS=false`` nothing of it."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jose import jwt

from tests.support.gateway import Answer, Gateways, Running
from tests.support.redis_server import StartRedis

KEYS = "/api/v1/queue/pass-keys.json"
GATED = ("POST", "/api/v1/reservations")
ON = {"pass": "true", "pass_issuer": "shop"}
SPELLINGS = ("X-Queue-Pass", "x_queue_pass", "X.Queue.Pass", "XQueuePass", "X-QUEUE_PASS")


async def checked(gateway: Running, token: str, room: str = "default") -> dict[str, Any]:
    """The claims of a pass, verified as a service does it."""
    keys = (await gateway.nobody("GET", KEYS)).json
    claims = jwt.decode(token, keys, algorithms=["ES256"], audience=room, issuer="shop")
    assert jwt.get_unverified_header(token)["typ"] == "queue-pass+jwt"
    assert claims["exp"] - claims["iat"] <= 600
    return dict(claims)


def cookies(answer: Answer) -> dict[str, Any]:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getall("Set-Cookie", []):  # type: ignore[attr-defined]
        jar.load(line)
    return dict(jar)


def sent_passes(gateways: Gateways) -> list[str]:
    """The values of X-Queue-Pass, in any spelling, of the last request that the service got."""
    headers = gateways.service.seen[-1]["headers"]
    return [value for name, value in headers if "".join(filter(str.isalnum, name)).lower() == "xqueuepass"]


async def test_lineup_status_and_gated_calls_bring_the_pass(gateways: Gateways) -> None:
    gateway = await gateways.start(**ON)
    await gateway.keys_known()
    kim = gateway.user("kim")
    claim = "POST", "/api/v1/queue/claim"
    for answer in (await kim.lineup(), await kim.status(), await kim(*claim)):
        claims = await checked(gateway, answer.json["pass"])
        assert (claims["sub"], claims["aud"]) == ("kim", "default")
        assert cookies(answer)["queue-pass"].value == answer.json["pass"]
        assert answer.headers["Cache-Control"] == "no-store"
    answer = await kim(*GATED)
    (token,) = sent_passes(gateways)
    cookie = cookies(answer)["queue-pass"]
    assert cookie.value == token
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (
        True,
        "Lax",
        "/",
        "",
    )
    assert answer.headers["Cache-Control"] == "private"
    assert (await checked(gateway, token))["sub"] == "kim"


CACHED = ("public, max-age=9", 'public, private="X-A", s-maxage=9')
FOR_CDNS = (
    "CDN-Cache-Control",
    "Cloudflare-CDN-Cache-Control",
    "Surrogate-Control",
    "Edge-Control",
    "X-Accel-Expires",
    "X-LiteSpeed-Cache-Control",
)


@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "application"])
async def test_no_shared_cache_may_keep_an_answer_with_a_pass_whatever_its_status(
    gateways: Gateways, fast: bool
) -> None:
    """A cache that kept it would give the pass of one user to all others."""
    statuses = (200, 301, 404, 410)
    for cached in CACHED:
        headers = {"Cache-Control": cached} | dict.fromkeys(FOR_CDNS, "max-age=9")
        gateways.service.answers += ((status, headers) for status in statuses)
    gateway = await gateways.start(**ON, fast_path=fast)
    await gateway.keys_known()
    kim = gateway.user("kim")
    await kim.lineup()
    for status in statuses * len(CACHED):
        answer = await kim(*GATED)
        assert (answer.status, "queue-pass" in cookies(answer)) == (status, True)
        assert [name for name in FOR_CDNS if name in answer.headers] == []
        stated = ", ".join(answer.headers.getall("Cache-Control"))  # type: ignore[attr-defined]
        assert "private" in stated.split(", ")
        assert "public" not in stated
        assert "s-maxage" not in stated


@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "application"])
async def test_passes_for_many_rooms_never_make_a_head_that_is_too_long(
    gateways: Gateways, fast: bool
) -> None:
    """Beyond the bound every request of the browser would be refused until the passes end."""
    gateway = await gateways.start(**ON, fast_path=fast)
    await gateway.keys_known()
    kim = gateway.user("kim")
    held = "; ".join(f"queue-pass-room{at}={'x' * 450}" for at in range(10))
    headers = {"Cookie": f"site=1; {held}; queue-pass=old"}
    for call in (("POST", "/api/v1/queue/lineup"), GATED):
        got = cookies(await kim(*call, headers=headers))
        gone = [name for name, cookie in got.items() if not cookie.value]
        assert gone == ["queue-pass-room0", "queue-pass-room1", "queue-pass-room2"]
        assert {got[name]["max-age"] for name in gone} == {"0"}
        assert got["queue-pass"].value


async def test_a_waiting_user_gets_none(gateways: Gateways) -> None:
    gateway = await gateways.start(**ON)
    await gateway.keys_known()
    await gateway.user("kim").lineup()
    lee = gateway.user("lee")
    for answer in (await lee.lineup(), await lee.status(), await lee(*GATED)):
        assert "pass" not in answer.json
        assert "Set-Cookie" not in answer.headers
    assert gateways.service.seen == []


async def test_the_event_brings_the_pass_with_the_ticket(gateways: Gateways) -> None:
    gateway = await gateways.start(**ON)
    await gateway.keys_known()
    kim, lee = gateway.user("kim"), gateway.user("lee")
    await kim.lineup()
    ticket = (await lee.lineup()).json["data"]["ticket"]
    async with lee.stream() as stream:
        await stream.until("STATUS_UPDATE")
        await kim("DELETE", "/api/v1/queue/allowed-in-token")
        event = await stream.until("ALLOWED_IN")
    claims = await checked(gateway, event.data["pass"])
    assert (claims["sub"], claims["jti"]) == ("lee", str(ticket))
    await lee(*GATED)
    (token,) = sent_passes(gateways)
    assert (await checked(gateway, token))["jti"] == str(ticket)


async def test_gated_calls_renew_the_pass(gateways: Gateways) -> None:
    gateway = await gateways.start(**ON)
    await gateway.keys_known()
    kim = gateway.user("kim")
    first = await checked(gateway, (await kim.lineup()).json["pass"])
    await asyncio.sleep(1.1)
    await kim(*GATED)
    second = await checked(gateway, sent_passes(gateways)[0])
    assert second["exp"] > first["exp"]
    assert second["jti"] == first["jti"]


async def test_any_gateway_s_keys_check_any_gateway_s_passes(gateways: Gateways) -> None:
    one, other = await gateways.start(**ON), await gateways.start(**ON)
    await one.keys_known()
    token = (await one.user("kim").lineup()).json["pass"]
    assert (await checked(other, token))["sub"] == "kim"


@pytest.mark.parametrize("on", ["true", "false"])
@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_client_s_own_pass_never_reaches_a_service(
    on: str, fast_path: bool, gateways: Gateways
) -> None:
    gateway = await gateways.start(fast_path=fast_path, **{**ON, "pass": on})
    await gateway.keys_known()
    kim = gateway.user("kim")
    await kim.lineup()
    for name in SPELLINGS:
        await kim(*GATED, headers={name: "forged"})
        assert "forged" not in sent_passes(gateways)
        assert len(sent_passes(gateways)) == (on == "true")
        # A call without a gate, too.
        await gateway.nobody("GET", "/api/v1/products", headers={name: "forged"})
        assert sent_passes(gateways) == []


async def test_without_the_setting_there_is_nothing_of_it(gateways: Gateways) -> None:
    gateway = await gateways.start()
    kim = gateway.user("kim")
    for answer in (await kim.lineup(), await kim.status(), await kim(*GATED)):
        assert "Set-Cookie" not in answer.headers
        assert "pass" not in answer.json
    assert sent_passes(gateways) == []


async def test_the_issuer_is_the_application_unless_it_is_set(gateways: Gateways) -> None:
    gateway = await gateways.start(**{"pass": "true", "spring_application_name": "front"})
    await gateway.keys_known()
    token = (await gateway.user("kim").lineup()).json["pass"]
    assert jwt.get_unverified_claims(token)["iss"] == "front"


async def test_rooms_have_passes_of_their_own(gateways: Gateways) -> None:
    routes = (
        "routes: [{id: a, uri: '%(service)s', predicates: ['Path=/a/**']}]\n"
        "gates: [{calls: [POST /a/x], room: vip}]\nrooms: {vip: {capacity: 5}}\n"
    )
    gateway = await gateways.start(routes, **ON)
    await gateway.keys_known()
    kim = gateway.user("kim")
    answer = await kim.lineup(room="vip")
    assert (await checked(gateway, answer.json["pass"], "vip"))["aud"] == "vip"
    assert cookies(answer)["queue-pass-vip"].value == answer.json["pass"]
    assert list(cookies(await kim("POST", "/a/x"))) == ["queue-pass-vip"]


async def test_over_tls_the_cookie_is_secure(gateways: Gateways) -> None:
    gateway = await gateways.start(trusted_proxies="127.0.0.1", **ON)
    await gateway.keys_known()
    kim = gateway.user("kim")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
    for call in (("POST", "/api/v1/queue/lineup"), GATED):
        assert cookies(await kim(*call, headers=headers))["queue-pass"]["secure"] is True


async def test_an_answer_that_the_gateway_gives_behind_the_gate_brings_the_cookie(gateways: Gateways) -> None:
    routes = "routes: [{id: a, uri: 'http://127.0.0.1:1', predicates: ['Path=/a/**']}]\ngates: [{calls: [POST /a/x]}]\n"
    gateway = await gateways.start(routes, **ON)
    await gateway.keys_known()
    kim = gateway.user("kim")
    await kim.lineup()
    answer = await kim("POST", "/a/x")
    assert answer.status == 502
    assert "queue-pass" in cookies(answer)


async def test_a_websocket_s_handshake_carries_the_pass(gateways: Gateways) -> None:
    routes = (
        "routes: [{id: a, uri: '%(service)s', predicates: ['Path=/a/**']}]\ngates: [{calls: [GET /a/x]}]\n"
    )
    gateway = await gateways.start(routes, **ON)
    await gateway.keys_known()
    kim = gateway.user("kim")
    await kim.lineup()
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.ws_connect(f"{gateway.base}/a/x", headers={"Authorization": f"Bearer {kim.token}"}) as socket,
    ):
        assert socket._response.headers["Set-Cookie"].startswith("queue-pass=ey")


async def test_while_redis_is_away_a_call_that_passes_has_no_pass(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    server = start_redis()
    async with Gateways(tmp_path, server.url) as gateways:
        gateway = await gateways.start(queue_fail_open="true", **ON)
        await gateway.keys_known()
        kim = gateway.user("kim")
        await kim.lineup()
        server.kill()
        answer = await kim(*GATED, headers={"X-Queue-Pass": "forged"})
        assert answer.status == 200
        assert sent_passes(gateways) == []
        assert "Set-Cookie" not in answer.headers
