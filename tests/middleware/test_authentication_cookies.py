"""The token's cookie on all calls, over real HTTP: what own pages, foreign pages and programs can do with it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from gateway.errors import SettingsError
from tests.support.gateway import ROUTES, Answer, Gateways, Running, settings_for

PARTNER = "https://partner.example"
CORS = """
cors:
  cors-configurations:
    "[/api/v1/partners/**]":
      allowedOrigins: ["https://partner.example"]
      allowedMethods: [GET, POST]
      allowCredentials: true
    "[/api/v1/anyone/**]":
      allowedOrigins: ["*"]
      allowedMethods: [GET, POST]
"""
ALL_ROUTES = ROUTES.replace(
    '"Path=/api/v1/products/**"', '"Path=/api/v1/products/**,/api/v1/callback,/api/v1/orders,/api/v1/*/**"'
).replace("public: [", "public: [POST /api/v1/callback, GET /api/v1/products/socket, ")
CALLS = {"jwt_cookie_name": "session", "jwt_cookie_calls": "all"}

FOREIGN = {
    "form": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "https://evil.example"},
    "form of a sandboxed frame": {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    "form of a sister site": {"Sec-Fetch-Site": "same-site", "Origin": "http://evil.127.0.0.1"},
    "fetch": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Origin": "https://evil.example"},
    "form of an older browser": {"Origin": "https://evil.example"},
    "form of an older browser's frame": {"Origin": "null"},
    "form of a very old browser": {},
    "same host, other scheme": {"Origin": "https://{host}"},
    "same host, other port": {"Origin": "http://127.0.0.1:1"},
    "a user in it": {"Origin": "http://x@{host}"},
    "own origin, foreign site": {"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"},
    "two sites": {"Sec-Fetch-Site": "cross-site, same-origin"},
}
"""What browsers send when a foreign page makes them POST."""


def host(gateway: Running) -> str:
    return gateway.base.removeprefix("http://")


async def by_cookie(
    gateway: Running, method: str, path: str, lines: dict[str, str] | None = None, user: str = "buyer"
) -> Answer:
    """A call of a browser that has the user's cookie."""
    headers = {name: value.format(host=host(gateway)) for name, value in (lines or {}).items()}
    cookie = f"theme=dark; session={gateway.issuer.token(user)}"
    return await gateway.nobody(method, path, headers={"Cookie": cookie, **headers})


def users_seen(gateways: Gateways) -> list[str | None]:
    """The user of each request that the service got."""
    return [dict(seen["headers"]).get("X-User-Id") for seen in gateways.service.seen]


async def test_the_cookie_counts_on_every_call(gateways: Gateways) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    own = {"Sec-Fetch-Site": "same-origin"}
    assert (await by_cookie(gateway, "GET", "/api/v1/orders")).status == 200
    assert (await by_cookie(gateway, "POST", "/api/v1/orders", own)).status == 200
    assert (await by_cookie(gateway, "GET", "/api/v1/products")).status == 200
    assert users_seen(gateways) == ["buyer"] * 3
    assert (await by_cookie(gateway, "POST", "/api/v1/queue/lineup", own)).json["state"] == "ALLOWED_IN"
    assert (await by_cookie(gateway, "POST", "/api/v1/reservations", own)).status == 200
    assert (await by_cookie(gateway, "DELETE", "/api/v1/queue/allowed-in-token", own)).status == 200


@pytest.mark.parametrize("name", FOREIGN)
async def test_what_a_foreign_page_can_send_is_refused(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    buyer = gateway.user("buyer")
    await buyer.lineup()
    for method, path in (
        ("POST", "/api/v1/orders"),
        ("POST", "/api/v1/reservations"),
        ("POST", "/api/v1/queue/leave"),
        ("POST", "/api/v1/queue/lineup"),
        ("DELETE", "/api/v1/queue/allowed-in-token"),
    ):
        answer = await by_cookie(gateway, method, path, FOREIGN[name])
        assert (answer.status, answer.code) == (403, "CSRF_REJECTED"), path
    assert gateways.service.seen == []
    assert (await buyer.status()).json["state"] == "ALLOWED_IN"


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_callback_from_another_site_reaches_an_open_call_without_the_user(
    gateways: Gateways, name: str
) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    assert (await by_cookie(gateway, "POST", "/api/v1/callback", FOREIGN[name])).status == 200
    own = {"Sec-Fetch-Site": "same-origin"}
    assert (await by_cookie(gateway, "POST", "/api/v1/callback", own)).status == 200
    assert users_seen(gateways) == [None, "buyer"]


async def test_an_image_reads_and_changes_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for path in ("/api/v1/queue/lineup", "/api/v1/queue/leave", "/api/v1/queue/allowed-in-token"):
        assert (await by_cookie(gateway, "GET", path, image)).status == 405
    assert (await by_cookie(gateway, "GET", "/api/v1/orders", image)).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://{host}"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://{host}"},
        {"Origin": "HTTP://{host}"},
    ],
)
async def test_an_own_page_may_act(gateways: Gateways, lines: dict[str, str]) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    assert (await by_cookie(gateway, "POST", "/api/v1/orders", lines)).status == 200
    assert users_seen(gateways) == ["buyer"]


@pytest.mark.parametrize(
    ("origin", "proto", "status"),
    [
        ("https://shop.example", "https", 200),
        ("https://shop.example:443", "https", 200),
        ("http://shop.example", "https", 403),
        ("https://shop.example", "http", 403),
        ("https://shop.example:8443", "https", 403),
        ("https://evil.example", "https", 403),
    ],
)
async def test_the_own_origin_is_the_one_that_a_trusted_proxy_reports(
    gateways: Gateways, origin: str, proto: str, status: int
) -> None:
    said = {"Origin": origin, "X-Forwarded-Proto": proto, "X-Forwarded-Host": "shop.example"}
    behind = await gateways.start(ALL_ROUTES, **CALLS, trusted_proxies="127.0.0.1")
    assert (await by_cookie(behind, "POST", "/api/v1/orders", said)).status == status
    # A client that is no trusted proxy has no say.
    direct = await gateways.start(ALL_ROUTES, **CALLS)
    assert (await by_cookie(direct, "POST", "/api/v1/orders", said)).status == 403


async def test_cors_lets_pages_act_that_it_allows_with_credentials_on_that_path(gateways: Gateways) -> None:
    gateway = await gateways.start(ALL_ROUTES + CORS, **CALLS)
    partner = {"Sec-Fetch-Site": "cross-site", "Origin": PARTNER}
    assert (await by_cookie(gateway, "POST", "/api/v1/partners/a", partner)).status == 200
    for path in ("/api/v1/orders", "/api/v1/anyone/a"):
        answer = await by_cookie(gateway, "POST", path, partner)
        assert (answer.status, answer.code) == (403, "CSRF_REJECTED"), path
    assert users_seen(gateways) == ["buyer"]


async def test_a_token_in_the_header_is_not_checked_and_wins(gateways: Gateways) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    foreign = {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {gateway.issuer.token('program')}"}
    assert (await by_cookie(gateway, "POST", "/api/v1/orders", foreign)).status == 200
    assert users_seen(gateways) == ["program"]


@pytest.mark.parametrize("path", ["/api/v1/orders/socket", "/api/v1/products/socket"])
async def test_a_foreign_page_opens_no_websocket(gateways: Gateways, path: str) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    cookie = f"session={gateway.issuer.token('buyer')}"
    opened, refused = [], []
    for origin in ("https://evil.example", "null", "", f"http://{host(gateway)}"):
        headers = {"Cookie": cookie, **({"Origin": origin} if origin else {})}
        try:
            async with gateway.session.ws_connect(gateway.base + path, headers=headers) as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello"
                opened.append(origin)
        except aiohttp.WSServerHandshakeError as error:
            refused.append((origin, error.status))
    foreign = ["https://evil.example", "null", ""]
    # On an open call the cookie of a foreign page counts as none, so its socket has no user.
    is_open = "products" in path
    assert opened == [*(foreign if is_open else []), f"http://{host(gateway)}"]
    assert refused == ([] if is_open else [(origin, 403) for origin in foreign])


async def test_services_never_see_a_pass(gateways: Gateways) -> None:
    cookie = {"Cookie": "a=1; queue-pass=ey; queue-pass-vip=ey; b=2"}
    gateway = await gateways.start(ALL_ROUTES, **CALLS, **{"pass": "true"})
    await gateway.user("buyer")("GET", "/api/v1/orders", headers=cookie)
    await gateway.user("buyer")("GET", "/api/v1/orders", headers={"Cookie": "queue-pass=ey"})
    without = await gateways.start(ALL_ROUTES)
    await without.user("buyer")("GET", "/api/v1/orders", headers=cookie)
    seen = [dict(each["headers"]).get("Cookie") for each in gateways.service.seen]
    assert seen == ["a=1; b=2", None, cookie["Cookie"]]


async def test_the_cookie_counts_on_three_calls_unless_all_are_named(gateways: Gateways) -> None:
    gateway = await gateways.start(ALL_ROUTES, jwt_cookie_name="session")
    own = {"Sec-Fetch-Site": "same-origin"}
    for method, path in (("GET", "/api/v1/orders"), ("POST", "/api/v1/queue/lineup")):
        assert (await by_cookie(gateway, method, path, own)).code == "TOKEN_REQUIRED"
    assert (await by_cookie(gateway, "GET", "/api/v1/queue/status", own)).code == "NOT_IN_QUEUE"


def test_all_calls_without_a_name_stop_the_start(tmp_path: Path) -> None:
    for name in ("", "  "):
        with pytest.raises(SettingsError) as refused:
            settings_for("redis://x", "http://x/keys", tmp_path, jwt_cookie_calls="all", jwt_cookie_name=name)
        assert str(refused.value) == (
            "JWT_COOKIE_CALLS='all': allowed is queue as long as JWT_COOKIE_NAME names no cookie; name one for all"
        )


async def test_the_cookie_itself_is_passed_on(gateways: Gateways) -> None:
    gateway = await gateways.start(ALL_ROUTES, **CALLS)
    await by_cookie(gateway, "GET", "/api/v1/orders")
    [seen] = gateways.service.seen
    assert dict(seen["headers"])["Cookie"].startswith("theme=dark; session=ey")
