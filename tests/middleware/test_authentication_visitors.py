"""Attacks on visitors over real HTTP: planted, swapped and stolen cookies, foreign pages, tokens in the way."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.app import VISITOR_SECRETS
from gateway.auth.visitors import VisitorCookies
from gateway.context import OBSERVERS, VISITORS
from tests.middleware.test_authentication_cookies import FOREIGN, host
from tests.support.gateway import Answer, Gateways, Running

ROUTES = """
routes:
  - {id: shop, uri: "lb://shop", predicates: ["Path=/shop/**"]}
services: {shop: ["%(service)s"]}
gates:
  - {calls: [POST /shop/orders, GET /shop/page, GET /shop/socket], renews: [POST /shop/basket]}
  - {room: users, calls: [PUT /shop/users, MOVE /shop/users]}
rooms: {default: {identity: visitor}}
access: {public: [POST /shop/orders, POST /shop/basket, MOVE /shop/page, MOVE /shop/open]}
"""
LINEUP = ("POST", "/api/v1/queue/lineup")
OWN = {"Sec-Fetch-Site": "same-origin"}
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}


def set_cookies(answer: Answer) -> list[str]:
    return list(answer.headers.getall("Set-Cookie", ()))  # type: ignore[attr-defined]


async def arrived(gateway: Running, headers: Mapping[str, str] = OWN) -> dict[str, str]:
    """The headers of a visitor who has a cookie."""
    answer = await gateway.nobody(*LINEUP, headers=headers)
    [line] = set_cookies(answer)
    return {**headers, "Cookie": line.partition(";")[0]}


async def inside(gateway: Running) -> dict[str, str]:
    """The headers of a visitor who is allowed in."""
    headers = await arrived(gateway)
    assert (await gateway.nobody(*LINEUP, headers=headers)).json["state"] == "ALLOWED_IN"
    return headers


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_foreign_page_can_do_nothing_for_a_visitor_and_changes_no_cookie(
    gateways: Gateways, name: str
) -> None:
    gateway = await gateways.start(ROUTES)
    mine = await inside(gateway)
    lines = {key: value.format(host=host(gateway)) for key, value in FOREIGN[name].items()}
    for call in (LINEUP, ("POST", "/shop/orders"), ("POST", "/api/v1/queue/leave")):
        answer = await gateway.nobody(*call, headers={"Cookie": mine["Cookie"], **lines})
        assert (answer.status, answer.code) == (403, "CSRF_REJECTED"), call
        # What a browser really sends: no Lax cookie. The answer must not replace the visitor's own.
        answer = await gateway.nobody(*call, headers=lines)
        assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED"), call
        # A very old browser says nothing, as a program does; and browsers send Lax cookies from sister sites.
        assert bool(set_cookies(answer)) is (not lines or "sister" in name), call
    assert gateways.service.seen == []
    assert (await gateway.nobody("GET", "/api/v1/queue/status", headers=mine)).json["state"] == "ALLOWED_IN"
    # On a call that only renews, the visitor of a foreign page counts as none.
    answer = await gateway.nobody("POST", "/shop/basket", headers={"Cookie": mine["Cookie"], **lines})
    assert answer.status == 200
    assert "X-Visitor-Id" not in dict(gateways.service.seen[-1]["headers"])


@pytest.mark.parametrize(
    ("lines", "given"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, False),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
        ({}, True),
    ],
)
async def test_following_a_link_brings_the_cookie_and_an_image_does_not(
    gateways: Gateways, lines: dict[str, str], given: bool
) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.nobody("GET", "/shop/page", headers=lines)
    assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED")
    assert len(set_cookies(answer)) == given


async def test_a_cookie_of_http_is_none_over_tls_and_the_other_way_round(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1")
    plain, secure = await arrived(gateway), await arrived(gateway, OWN | HTTPS)
    assert plain["Cookie"].startswith("visitor=")
    assert secure["Cookie"].startswith("__Host-visitor=")
    for headers in (plain, secure):
        assert (await gateway.nobody(*LINEUP, headers=headers)).status == 200
    swapped = (
        {**secure, "Cookie": plain["Cookie"]},
        {**plain, "Cookie": secure["Cookie"]},
        {**secure, "Cookie": "__Host-" + plain["Cookie"]},
        {**plain, "Cookie": secure["Cookie"].removeprefix("__Host-")},
    )
    for headers in swapped:
        answer = await gateway.nobody(*LINEUP, headers=headers)
        assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED")
    answer = await gateway.nobody(*LINEUP, headers=OWN | HTTPS)
    assert set_cookies(answer)[0].endswith("; HttpOnly; SameSite=Lax; Secure")
    # A client that is no trusted proxy has no say.
    direct = await gateways.start(ROUTES)
    assert set_cookies(await direct.nobody(*LINEUP, headers=OWN | HTTPS))[0].startswith("visitor=")


async def test_a_cookie_planted_beside_the_own_one_gives_no_place_and_takes_none(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    mine, planted = await inside(gateway), await arrived(gateway)
    for line in (f"{mine['Cookie']}; {planted['Cookie']}", f"{planted['Cookie']}; {mine['Cookie']}"):
        answer = await gateway.nobody(*LINEUP, headers={**OWN, "Cookie": line})
        assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED")
        # A new cookie would be a third one, and would replace the visitor's own.
        assert set_cookies(answer) == []
    assert (await gateway.nobody(*LINEUP, headers=mine)).json["state"] == "ALLOWED_IN"


@pytest.mark.parametrize("name", ["forged", "expired", "garbled", "of another name"])
async def test_a_bad_cookie_gets_no_place_and_a_new_one(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(ROUTES)
    mine = (await inside(gateway))["Cookie"]
    forger = VisitorCookies(("a-secret-of-a-stranger-of-the-shop",), clock=lambda: 2_000_000_000)
    old = VisitorCookies(gateway.app[VISITOR_SECRETS]._secrets, clock=lambda: 1_000_000_000)
    bad = {
        "forged": forger.new(secure=False).partition(";")[0],
        "expired": old.new(secure=False).partition(";")[0],
        "garbled": mine[:-1],
        "of another name": mine.replace("visitor=", "queue-pass="),
    }[name]
    for call in (LINEUP, ("POST", "/shop/orders")):
        answer = await gateway.nobody(*call, headers={**OWN, "Cookie": bad})
        assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED")
        assert len(set_cookies(answer)) == 1
    assert gateways.service.seen == []


async def test_a_foreign_page_opens_no_websocket_of_a_visitor(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    mine = await inside(gateway)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Cookie": mine["Cookie"],
    }
    for origin in ("https://evil.example", "null"):
        answer = await gateway.nobody("GET", "/shop/socket", headers={**upgrade, "Origin": origin})
        assert (answer.status, answer.code) == (403, "CSRF_REJECTED")
    own = {"Cookie": mine["Cookie"], "Origin": f"http://{host(gateway)}"}
    async with gateway.session.ws_connect(gateway.base + "/shop/socket", headers=own) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"


@pytest.mark.parametrize(
    ("path", "destination", "status"),
    [
        ("/shop/page", "/shop/private", 400),
        ("/shop/private", "/shop/page", 400),
        ("/shop/page", "/shop/users", 400),
        ("/shop/users", "/shop/page", 400),
        ("/shop/open", "/shop/page", 200),
        ("/shop/page", "/shop/open", 200),
        ("/shop/page", "/shop/page", 200),
    ],
)
async def test_a_visitors_place_stands_for_no_token_of_another_path(
    gateways: Gateways, path: str, destination: str, status: int
) -> None:
    """A MOVE concerns two paths; the gate of one of them must not open the other."""
    gateway = await gateways.start(ROUTES.replace("GET /shop/page", "/shop/page"))
    mine = await inside(gateway)
    answer = await gateway.nobody("MOVE", path, headers={**mine, "Destination": destination})
    assert answer.status == status
    assert len(gateways.service.seen) == (status == 200)


async def test_without_a_secret_visitors_wait_and_others_go_on(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    gateway.app[VISITORS].set_secrets(())
    answer = await gateway.nobody(*LINEUP, headers=OWN)
    assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")
    assert (await gateway.nobody("POST", "/shop/basket", headers=OWN)).status == 200
    assert (await gateway.user("kim").lineup(room="users")).status == 200


async def test_who_passes_by_a_rule_needs_no_cookie_but_a_token_where_access_rules_ask_for_one(
    gateways: Gateways,
) -> None:
    rule = "bypass: [{name: probes, networks: [127.0.0.1]}]"
    gateway = await gateways.start(ROUTES.replace("{identity: visitor}", f"{{identity: visitor, {rule}}}"))
    answer = await gateway.nobody("POST", "/shop/orders", headers=OWN)
    assert (answer.status, set_cookies(answer)) == (200, [])
    assert (await gateway.nobody("GET", "/shop/page", headers=OWN)).code == "TOKEN_REQUIRED"
    assert (await gateway.user("kim")("GET", "/shop/page")).status == 200
    # The line is for everyone.
    assert (await gateway.nobody(*LINEUP, headers=OWN)).code == "COOKIE_REQUIRED"


@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_a_gate_that_lets_everyone_pass_asks_no_visitor_for_a_cookie(
    gateways: Gateways, mode: str
) -> None:
    gateway = await gateways.start(
        ROUTES.replace("{identity: visitor}", f"{{identity: visitor, mode: {mode}}}")
    )
    for lines in ({}, OWN, FOREIGN["form"], {"Sec-Purpose": "prefetch"}):
        answer = await gateway.nobody("POST", "/shop/orders", headers=lines)
        assert (answer.status, set_cookies(answer)) == (200, [])
    would = gateway.app[OBSERVERS].metrics.registry.get_sample_value(
        "gateway_room_would_refuse_total", {"room": "default", "code": "COOKIE_REQUIRED"}
    )
    assert (would or 0) == (4 if mode == "observe" else 0)
    # The queue's own calls still need one, since they are about a place.
    assert (await gateway.nobody(*LINEUP, headers=OWN)).code == "COOKIE_REQUIRED"


WIDE = """
routes:
  - {id: admin, uri: "lb://shop", predicates: ["Path=/admin-ui/**"], filters: [StripPrefix=1]}
  - {id: shop, uri: "lb://shop", predicates: ["Path=/**"]}
services: {shop: ["%(service)s"]}
gates:
  - calls: ["GET /", "GET /events/{id:[0-9]+}", GET /shop/page, POST /orders, MOVE /orders, "/seats/{row}"]
  - calls: [PURGE /seats/a/b.png]
rooms: {default: {identity: IDENTITY}}
access: {public: [GET /shop/page.css]}
"""


@pytest.mark.parametrize("identity", ["visitor", "either"])
async def test_a_place_stands_for_no_token_of_a_call_that_no_gate_lists(
    gateways: Gateways, identity: str
) -> None:
    """A gate protects whatever a service may take for its calls. That includes other pages, which need a token too."""
    gateway = await gateways.start(WIDE.replace("IDENTITY", identity))
    mine = await inside(gateway)
    for call in (
        ("GET", "/index.php/admin/users"),
        ("GET", "/index/admin"),
        ("GET", "/default.aspx/admin"),
        ("GET", "/events/me"),
        ("GET", "/shop/page.admin"),
        ("GET", "/shop/page.php/secret/report"),
        ("GET", "/shop/Page"),
        ("GET", "/shop/page/"),
        ("HEAD", "/shop/page.admin"),
        ("GET", "/admin-ui/"),
        ("POST", "/admin-ui/orders"),
        ("PURGE", "/seats/a/b"),
    ):
        for headers in (mine, OWN):
            for _ in range(2):  # resolved, and from the cache
                answer = await gateway.nobody(*call, headers=headers)
                assert answer.status == 401, call
                assert call[0] == "HEAD" or answer.code == "TOKEN_REQUIRED", call
        # The place is needed too: that of the visitor, or in a room for either that of the user.
        expected = 200 if identity == "visitor" else 403
        assert (await gateway.user("kim")(*call, headers=mine)).status == expected, call
    gateways.service.seen.clear()
    for method, path in (
        ("GET", "/"),
        ("GET", "/events/7"),
        ("HEAD", "/events/7"),
        ("GET", "/shop/page"),
        ("POST", "/orders"),
        ("PURGE", "/seats/a"),
        ("GET", "/shop/page.css"),  # public
    ):
        assert (await gateway.nobody(method, path, headers=mine)).status == 200, path
        assert (await gateway.nobody(method, path, headers=OWN)).status == 401, path


@pytest.mark.parametrize(
    ("path", "destination", "status"),
    [
        ("/orders", "/orders", 200),
        ("/orders", "/orders.admin", 400),
        ("/orders.admin", "/orders", 400),
        ("/admin-ui/orders", "/orders", 400),
        ("/orders.admin", "/orders.admin", 401),
    ],
)
async def test_both_ends_of_a_move_must_be_listed(
    gateways: Gateways, path: str, destination: str, status: int
) -> None:
    gateway = await gateways.start(WIDE.replace("IDENTITY", "visitor"))
    mine = await inside(gateway)
    answer = await gateway.nobody("MOVE", path, headers={**mine, "Destination": destination})
    assert answer.status == status
    assert len(gateways.service.seen) == (status == 200)


@pytest.mark.parametrize("identity", ["visitor", "either"])
@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_a_gate_that_lets_everyone_pass_opens_no_call_to_strangers(
    gateways: Gateways, mode: str, identity: str
) -> None:
    """In this room a place stands for the token. Without places, the caller must still be known."""
    gateway = await gateways.start(WIDE.replace("IDENTITY", f"{identity}, mode: {mode}"))
    answer = await gateway.nobody("GET", "/shop/page", headers=OWN)
    assert (answer.status, answer.code, len(set_cookies(answer))) == (401, "COOKIE_REQUIRED", 1)
    mine = {**OWN, "Cookie": set_cookies(answer)[0].partition(";")[0]}
    assert (await gateway.nobody("GET", "/shop/page", headers=mine)).status == 200
    foreign = await gateway.nobody("POST", "/orders", headers={**mine, "Sec-Fetch-Site": "cross-site"})
    assert foreign.code == "CSRF_REJECTED"
    assert (await gateway.user("kim")("GET", "/shop/page")).status == 200
