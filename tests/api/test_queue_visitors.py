"""Visitors over real HTTP: how they get their cookie, a place, and what services learn about them."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

import pytest

from gateway.auth.identity import signature
from gateway.auth.visitors import visitor_key
from gateway.context import VISITORS
from tests.hostile.test_identity import SPELLINGS
from tests.support.gateway import Answer, Caller, Gateways, Running, Stream

ROUTES = """
routes:
  - {id: shop, uri: "lb://shop", predicates: ["Path=/shop/**"]}
services: {shop: ["%(service)s"]}
gates:
  - {room: open, calls: [POST /shop/orders, GET /shop/page], renews: [GET /shop/basket]}
  - {room: both, calls: [POST /shop/both]}
  - {room: users, calls: [POST /shop/users]}
rooms:
  open: {identity: visitor}
  both: {identity: either}
access:
  public: [GET /shop/basket, GET /shop/page]
"""
LINEUP, STATUS = "/api/v1/queue/lineup?room=open", "/api/v1/queue/status?room=open"
SET = re.compile(
    r"visitor=([A-Za-z0-9_-]{22})\.[0-9]{10}\.[A-Za-z0-9_-]{43}; "
    r"Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"
)


class Browser:
    """A client that keeps the gateway's cookies as browsers do, one per name."""

    def __init__(self, gateway: Running, headers: Mapping[str, str] | None = None) -> None:
        self._caller = Caller(gateway.session, gateway.base, None)
        self.headers = dict(headers or {})
        self.cookies: dict[str, str] = {}

    async def __call__(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        answer = await self._caller(method, path, headers=self._sent(headers), **options)
        for line in answer.headers.getall("Set-Cookie", ()):  # type: ignore[attr-defined]
            self.cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        return answer

    def _sent(self, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        line = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        own = {"Sec-Fetch-Site": "same-origin"} | self.headers | dict(headers or {})
        return own | ({"Cookie": line} if line else {})

    @property
    def id(self) -> str:
        """The visitor's id, from the cookie."""
        value = self.cookies.get("visitor") or self.cookies["__Host-visitor"]
        return value.partition(".")[0]

    def stream(self, path: str) -> object:
        return self._caller.stream(headers=self._sent(), path=path)

    async def arrive(self) -> Answer:
        """The first call, which brings the cookie."""
        answer = await self("GET", STATUS)
        assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED")
        return answer


def set_cookies(answer: Answer) -> list[str]:
    return list(answer.headers.getall("Set-Cookie", ()))  # type: ignore[attr-defined]


async def test_a_visitor_takes_a_place_with_the_request_that_brings_the_cookie(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    browser = Browser(gateway)
    first = await browser("POST", LINEUP)
    assert (first.status, first.code) == (401, "COOKIE_REQUIRED")
    assert first.headers["WWW-Authenticate"] == "Cookie"
    [line] = set_cookies(first)
    assert SET.fullmatch(line)
    assert (await browser("GET", STATUS)).status == 404
    second = await browser("POST", LINEUP)
    assert (second.status, second.json["state"]) == (200, "ALLOWED_IN")
    assert set_cookies(second) == []
    assert (await browser("POST", "/shop/orders")).status == 200
    assert (await browser("GET", STATUS)).json["state"] == "ALLOWED_IN"


async def test_without_the_cookie_no_call_takes_a_place(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    for method, path in [
        ("POST", LINEUP),
        ("GET", STATUS),
        ("GET", "/api/v1/queue/stream?room=open"),
        ("POST", "/api/v1/queue/claim?room=open"),
        ("POST", "/api/v1/queue/leave?room=open"),
        ("DELETE", "/api/v1/queue/waiting-token?room=open"),
        ("POST", "/shop/orders"),
        ("GET", "/shop/page"),
        ("HEAD", "/shop/page"),
    ]:
        answer = await gateway.nobody(method, path)
        assert answer.status == 401, path
        assert len(set_cookies(answer)) == 1
        assert answer.headers["Cache-Control"] == "no-store"
    assert gateways.service.seen == []


async def test_two_visitors_wait_in_one_line_and_see_it_live(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    ann, bob = Browser(gateway), Browser(gateway)
    for each in (ann, bob):
        await each.arrive()
        await each("POST", LINEUP)
    waiting = await bob("GET", STATUS)
    assert waiting.json["data"]["userQueuePosition"] == 1
    refused = await bob("POST", "/shop/orders")
    assert (refused.status, refused.code) == (429, "QUEUE_WAITING")
    async with bob.stream("/api/v1/queue/stream?room=open") as stream:  # type: ignore[attr-defined]
        assert isinstance(stream, Stream)
        await stream.until("STATUS_UPDATE")
        assert (await ann("DELETE", "/api/v1/queue/allowed-in-token?room=open")).status == 200
        await stream.until("ALLOWED_IN")
    assert (await bob("POST", "/shop/orders")).status == 200


async def test_services_get_the_visitor_signed_and_never_as_a_user(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, identity_hmac_secret="a-secret-of-the-tests")
    browser = Browser(gateway)
    await browser.arrive()
    await browser("POST", LINEUP)
    browser.cookies["theme"] = "dark"
    await browser("POST", "/shop/orders?x=1")
    headers = dict(gateways.service.seen[-1]["headers"])
    assert headers["X-Visitor-Id"] == browser.id
    assert "X-User-Id" not in headers
    assert headers["Cookie"] == "theme=dark"
    signed = dict(part.split("=", 1) for part in headers["X-Gateway-Signature"].split(","))
    target = "/shop/orders?x=1"
    expected = signature("a-secret-of-the-tests", int(signed["t"]), "POST", target, "", "", browser.id)
    assert signed["v1"] == expected
    other = signature("a-secret-of-the-tests", int(signed["t"]), "POST", target, "", "")
    assert expected != other


@pytest.mark.parametrize(
    "name", [name for name in SPELLINGS if "userid" in re.sub("[^a-z]", "", name.lower())]
)
async def test_a_client_says_no_visitor_in_any_spelling(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(ROUTES)
    spelled = re.sub("(?i)user", lambda match: "visitor" if match[0].islower() else "Visitor", name)
    await gateway.user("someone")("GET", "/shop/other", headers={spelled: "forged"})
    assert "forged" not in str(gateways.service.seen[-1]["headers"])


async def test_a_call_that_only_renews_goes_on_without_a_visitor(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.nobody("GET", "/shop/basket")
    assert (answer.status, set_cookies(answer)) == (200, [])
    browser = Browser(gateway)
    await browser.arrive()
    await browser("POST", LINEUP)
    await browser("GET", "/shop/basket")
    assert dict(gateways.service.seen[-1]["headers"])["X-Visitor-Id"] == browser.id


async def test_no_answer_of_a_service_sets_the_cookie(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    browser = Browser(gateway)
    await browser.arrive()
    await browser("POST", LINEUP)
    gateway.app[VISITORS]._clock = lambda: time.time() + 50_000
    for method, path in (("POST", "/shop/orders"), ("GET", "/shop/page"), ("GET", "/shop/basket")):
        answer = await browser(method, path)
        assert (answer.status, set_cookies(answer)) == (200, [])
    # The gateway's own next answer does.
    answer = await browser("GET", STATUS)
    before, [line] = browser.id, set_cookies(answer)
    assert SET.fullmatch(line)[1] == before  # type: ignore[index]


async def test_a_user_of_another_room_stays_one(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    browser = Browser(gateway)
    await browser.arrive()
    answer = await browser("POST", "/api/v1/queue/lineup?room=users")
    assert (answer.status, answer.code) == (401, "TOKEN_REQUIRED")
    assert (await browser("POST", "/shop/users")).code == "TOKEN_REQUIRED"
    assert (await browser("GET", "/shop/other")).code == "TOKEN_REQUIRED"
    assert (await browser("POST", "/api/v1/queue/lineup?room=nowhere")).code == "TOKEN_REQUIRED"


async def test_in_a_room_for_either_a_verified_token_wins(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    browser = Browser(gateway)
    await browser.arrive()
    user = Browser(gateway, {"Authorization": f"Bearer {gateway.issuer.token('kim')}"})
    user.cookies = browser.cookies
    assert (await user("POST", "/api/v1/queue/lineup?room=both")).json["state"] == "ALLOWED_IN"
    assert (await user("POST", "/shop/both")).status == 200
    headers = dict(gateways.service.seen[-1]["headers"])
    assert headers["X-User-Id"] == "kim"
    assert "X-Visitor-Id" not in headers
    # The visitor alone has no place.
    assert (await browser("POST", "/shop/both")).code == "NOT_IN_QUEUE"
    bad = Browser(gateway, {"Authorization": "Bearer x.y.z"})
    bad.cookies = browser.cookies
    for method, path in (("POST", "/shop/both"), ("GET", "/api/v1/queue/status?room=both")):
        assert (await bad(method, path)).code == "TOKEN_INVALID"


async def test_in_a_room_for_visitors_a_token_has_no_place_but_the_service_learns_the_user(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(ROUTES)
    user = Browser(gateway, {"Authorization": f"Bearer {gateway.issuer.token('kim')}"})
    await user.arrive()
    await user("POST", LINEUP)
    assert (await user("POST", "/shop/orders")).status == 200
    headers = dict(gateways.service.seen[-1]["headers"])
    assert (headers["X-User-Id"], headers["X-Visitor-Id"]) == ("kim", user.id)
    bad = Browser(gateway, {"Authorization": "Bearer x.y.z"})
    bad.cookies = user.cookies
    assert (await bad("POST", "/shop/orders")).status == 200
    assert "X-User-Id" not in dict(gateways.service.seen[-1]["headers"])


async def test_a_token_in_an_expired_cookie_does_not_lock_a_browser_out_of_a_room_for_either(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(ROUTES, jwt_cookie_name="session", jwt_cookie_calls="all")
    browser = Browser(gateway)
    await browser.arrive()
    browser.cookies["session"] = gateway.issuer.token("kim", exp=1)
    assert (await browser("POST", "/api/v1/queue/lineup?room=both")).json["state"] == "ALLOWED_IN"
    assert (await browser("POST", "/shop/both")).status == 200
    assert dict(gateways.service.seen[-1]["headers"])["X-Visitor-Id"] == browser.id


async def test_ids_that_look_alike_are_two_people(gateways: Gateways) -> None:
    """A token's ``sub`` may be anything that a header carries, also what a visitor is called."""
    gateway = await gateways.start(
        ROUTES, allowed_in_max_capacity=10, management_token="a-token-of-operators"
    )
    browser = Browser(gateway)
    await browser.arrive()
    await browser("POST", "/api/v1/queue/lineup?room=both")
    assert (await browser("POST", "/shop/both")).status == 200
    for sub in (browser.id, f"visitor:{browser.id}", f"user:visitor:{browser.id}"):
        user = gateway.user(sub)
        assert (await user("POST", "/shop/both")).code == "NOT_IN_QUEUE", sub
        await user.lineup(room="both")
        assert (await user("POST", "/shop/both")).status == 200
    operator = gateway.with_token("a-token-of-operators")
    names = [browser.id, *(f"{word}visitor:{browser.id}" for word in ("", "user:", "user:user:"))]
    for name in names:
        found = await operator("GET", "/actuator/rooms/both/users", params={"id": name})
        assert (found.json["data"]["user"], found.json["data"]["state"]) == (name, "ALLOWED_IN")
    for name in names[1:]:
        removed = await operator("DELETE", "/actuator/rooms/both/users", params={"id": name})
        assert removed.status == 200
    assert (await browser("POST", "/shop/both")).code == "NOT_IN_QUEUE"
    assert (await gateway.user(browser.id)("POST", "/shop/both")).status == 200
    audit = (await operator("GET", "/actuator/rooms/both/audit")).json["data"]
    assert sorted(entry["user"] for entry in audit) == sorted(names[1:])
    assert (await gateway.user(visitor_key(browser.id)).status(room="both")).code == "TOKEN_INVALID"


async def test_a_pass_names_the_visitor(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, **{"pass": "true"})
    browser = Browser(gateway)
    await browser.arrive()
    await gateway.keys_known()
    answer = await browser("POST", LINEUP)
    claims = answer.json["pass"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == f"visitor:{browser.id}"


@pytest.mark.parametrize(
    ("purpose", "refused"),
    [("prefetch", True), ("prefetch;prerender", True), ("Prefetch", True), ("other", False)],
)
async def test_what_is_loaded_in_advance_takes_and_claims_no_place(
    gateways: Gateways, purpose: str, refused: bool
) -> None:
    gateway = await gateways.start(ROUTES)
    browser = Browser(gateway)
    await browser.arrive()
    headers = {"Sec-Purpose": purpose}
    for each in (("POST", LINEUP), ("GET", "/shop/page"), ("POST", "/api/v1/queue/claim?room=open")):
        answer = await browser(*each, headers=headers)
        if refused:
            assert (answer.status, answer.code) == (403, "PREFETCH_REFUSED")
        else:
            assert answer.status == 200
    assert (await browser("GET", STATUS, headers=headers)).status == (404 if refused else 200)
    assert (await browser("GET", "/shop/basket", headers=headers)).status == 200
