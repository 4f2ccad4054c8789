"""The page at the gate, over real HTTP: which answers are pages, with which status and headers, and what they hold."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Mapping

import pytest

from gateway.api.negotiation import VARY
from gateway.api.waiting_page import poll_seconds
from gateway.context import ROOMS
from gateway.pages.waiting_page.texts import LANGUAGES, texts_of
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import Answer, Gateways, Running
from tests.support.raw_http import connected
from tests.support.waiting import eventually

PAGES = """
routes:
  - {id: shop, uri: "lb://shop", predicates: ["Path=/shop/**"]}
services: {shop: ["%(service)s"]}
gates:
  - {room: default, calls: [GET /shop/page, POST /shop/orders]}
  - {room: users, calls: [GET /shop/users, POST /shop/users]}
  - {room: plain, calls: [GET /shop/plain]}
rooms:
  default: {identity: visitor, capacity: 1, page: {title: "Winter <sale>"}}
  users: {capacity: 1, page: {status: 202, login: "/login?by=page"}}
  plain: {identity: visitor, capacity: 1}
access:
  public: [GET /shop/free]
"""
NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "same-origin",
    "Accept-Encoding": "identity",
}
LINEUP = "/api/v1/queue/lineup"


def attributes(answer: Answer) -> dict[str, str]:
    """Those of the page's main part."""
    tag = re.search(r"<main id=\"queue\"([^>]*)>", answer.body.decode())
    assert tag is not None, answer.body
    found = re.findall(r"data-(\w+)(?:=\"([^\"]*)\"|='([^']*)')?", tag[1])
    return {name: html.unescape(double or single) for name, double, single in found}


async def gateway_with_line(
    gateways: Gateways, settings: Mapping[str, object] | None = None
) -> tuple[Running, Browser]:
    """A gateway whose room is full, and a browser that waits at place 1."""
    gateway = await gateways.start(PAGES, default_locale="en", **(settings or {}))
    inside, waiting = Browser(gateway), Browser(gateway)
    for browser in (inside, waiting):
        await first_visit(browser)
        await browser("POST", LINEUP)
    return gateway, waiting


async def first_visit(browser: Browser) -> Answer:
    """The first navigation, which brings the cookie."""
    answer = await browser("GET", "/shop/page", NAVIGATION)
    assert answer.status == 401
    return answer


async def test_the_first_visit_gets_the_cookie_and_a_page_that_asks_again(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES, default_locale="en")
    browser = Browser(gateway)
    answer = await first_visit(browser)
    assert browser.id
    assert attributes(answer)["state"] == "cookies"
    assert answer.headers["Retry-After"] == "1"
    assert 'http-equiv="refresh" content="1"' in answer.body.decode()


async def test_a_waiting_visitor_gets_the_page(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    answer = await browser("GET", "/shop/page", NAVIGATION)
    assert answer.status == 503
    said = attributes(answer)
    assert (said["state"], said["room"], said["api"]) == ("waiting", "default", "/api/v1/queue")
    status = json.loads(said["status"])
    assert (status["userQueuePosition"], status["totalQueueSize"]) == (1, 1)
    text = answer.body.decode()
    assert "<title>(1) Winter &lt;sale&gt;</title>" in text
    assert texts_of("en")["next.first"] in text
    assert "<sale>" not in text
    sent = {
        name: answer.headers[name] for name in ("Cache-Control", "X-Robots-Tag", "X-Content-Type-Options")
    }
    assert sent == {
        "Cache-Control": "no-store",
        "X-Robots-Tag": "noindex",
        "X-Content-Type-Options": "nosniff",
    }
    assert answer.headers["Vary"] == VARY
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_people_beyond_the_stock_are_told_so_in_words(gateways: Gateways, language: str) -> None:
    """Without a script too."""
    gateway, first = await gateway_with_line(gateways)
    second = Browser(gateway)
    await first_visit(second)
    await second("POST", LINEUP)
    await gateway.app[ROOMS]["default"].operations.set_limits(stock=0, by="test")
    sent = NAVIGATION | {"Accept-Language": language}
    shown, hidden = 'id="unlikely" class="q-box" data-show="waiting">', 'data-show="waiting" hidden>'

    async def told() -> bool:
        return shown in (await second("GET", "/shop/page", sent)).body.decode()

    await eventually(told)
    text = (await second("GET", "/shop/page", sent)).body.decode()
    assert f"{shown}{html.escape(texts_of(language)['unlikely.text'])}</p>" in text
    text = (await first("GET", "/shop/page", sent)).body.decode()
    assert f'id="unlikely" class="q-box" {hidden}' in text


async def test_the_lane_is_named_where_there_are_lanes(gateways: Gateways) -> None:
    lanes = "lanes: [{name: members, share: 0.3, claim: tier, values: [gold]}]"
    routes = PAGES.replace(
        "{capacity: 1, page: {status: 202,", f"{{capacity: 0, {lanes}, page: {{status: 202,"
    )
    gateway = await gateways.start(routes, default_locale="en")
    for user, claims, language, name in (
        ("ann", {"tier": "gold"}, "en", "members"),
        ("bob", {}, "en", "General"),
        ("bob", {}, "ko", "일반"),
    ):
        caller = gateway.user(user, **claims)
        answer = await caller("GET", "/shop/users", headers=NAVIGATION | {"Accept-Language": language})
        assert answer.status == 202
        assert f'<dd><bdi data-fill="lane">{name}</bdi></dd>' in answer.body.decode()
    _, browser = await gateway_with_line(gateways)
    text = (await browser("GET", "/shop/page", NAVIGATION)).body.decode()
    assert "<div data-lane hidden>" in text


async def test_other_clients_get_json_as_before(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    answer = await browser("GET", "/shop/page", {"Accept": "*/*"})
    assert (answer.status, answer.code) == (429, "QUEUE_WAITING")
    assert answer.headers["Vary"] == VARY
    assert "Content-Security-Policy" not in answer.headers


async def test_a_room_without_a_page_answers_json_to_browsers_too(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    answer = await Browser(gateway)("GET", "/shop/plain", NAVIGATION)
    assert (answer.status, answer.code) == (401, "COOKIE_REQUIRED")
    assert "Vary" not in answer.headers


@pytest.mark.parametrize("fast", [True, False])
async def test_both_paths_of_the_gateway_answer_the_same(gateways: Gateways, fast: bool) -> None:
    _, browser = await gateway_with_line(gateways, {"fast_path": fast})
    answer = await browser("GET", "/shop/page", NAVIGATION | {"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b'data-state="waiting"' in gzip.decompress(answer.body)
    bare = await browser("GET", "/shop/page", NAVIGATION | {"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in bare.headers
    assert attributes(bare)["state"] == "waiting"


async def test_head_is_gated_as_get_is(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    answer = await browser("HEAD", "/shop/page", NAVIGATION)
    assert (answer.status, answer.body) == (503, b"")
    assert int(answer.headers["Content-Length"]) > 5000


async def test_a_user_who_is_let_in_gets_the_site_and_shared_caches_keep_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    browser = Browser(gateway)
    await first_visit(browser)
    await browser("POST", LINEUP)
    answer = await browser(
        "GET", "/shop/page?cache-control=public%2C+s-maxage%3D60%2C+max-age%3D9", NAVIGATION
    )
    assert answer.status == 200
    assert "private" in answer.headers["Cache-Control"]
    assert "public" not in answer.headers["Cache-Control"]
    free = await browser("GET", "/shop/free", NAVIGATION)
    assert "private" not in free.headers.get("Cache-Control", "")


async def test_a_refused_post_has_a_way_back_and_never_reloads(gateways: Gateways) -> None:
    gateway, browser = await gateway_with_line(gateways)
    answer = await browser(
        "POST", "/shop/orders", NAVIGATION | {"Referer": f"{gateway.base}/cart?a=1&b=2"}, data="x=1"
    )
    assert answer.status == 503
    said = attributes(answer)
    assert "refused" in said
    text = answer.body.decode()
    assert 'href="/cart?a=1&amp;b=2"' in text
    assert "http-equiv" not in text
    for referer in ("https://evil.example/cart", "javascript:alert(1)", ""):
        answer = await browser("POST", "/shop/orders", NAVIGATION | {"Referer": referer})
        assert '<a id="back" class="q-button q-main" href="/">' in answer.body.decode()


@pytest.mark.parametrize(
    ("path", "next_path"),
    [
        ("/shop/users", "/shop/users"),
        (
            "/shop/users?a=1&next=https://evil.example/",
            "/shop/users%3Fa%3D1%26next%3Dhttps%3A//evil.example/",
        ),
    ],
)
async def test_without_a_token_a_browser_is_sent_to_the_login(
    gateways: Gateways, path: str, next_path: str
) -> None:
    gateway = await gateways.start(PAGES)
    answer = await Browser(gateway)("GET", path, NAVIGATION)
    assert (answer.status, answer.headers["Location"]) == (303, f"/login?by=page&next={next_path}")
    assert answer.headers["Cache-Control"] == "no-store"
    plain = await Browser(gateway)("GET", path)
    assert (plain.status, plain.code) == (401, "TOKEN_REQUIRED")


async def test_the_way_to_the_login_keeps_a_query_that_is_no_utf_8(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    async with connected(gateway.base) as client:
        client.send(b"GET /shop/users?a=\xff HTTP/1.1\r\nHost: a\r\nSec-Fetch-Mode: navigate\r\n\r\n")
        answer = await client.answer()
    assert (answer.status, answer.all("Location")) == (303, ["/login?by=page&next=/shop/users%3Fa%3D%FF"])


async def test_after_a_refused_post_the_login_leads_to_the_page_before(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    answer = await Browser(gateway)("POST", "/shop/users", NAVIGATION | {"Referer": f"{gateway.base}/cart"})
    assert (answer.status, answer.headers["Location"]) == (303, "/login?by=page&next=/cart")


async def test_without_a_login_a_missing_token_stays_json(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES.replace(', login: "/login?by=page"', ""))
    answer = await Browser(gateway)("GET", "/shop/users", NAVIGATION)
    assert (answer.status, answer.code) == (401, "TOKEN_REQUIRED")


async def test_the_rooms_status_replaces_403_and_429_only(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    first, second = gateway.user("a"), gateway.user("b")
    for user in (first, second):
        await user.lineup(room="users")
    answer = await second("GET", "/shop/users", headers=NAVIGATION)
    assert (answer.status, attributes(answer)["state"]) == (202, "waiting")


@pytest.mark.parametrize(
    ("settings", "status", "state"),
    [
        ("mode: on, opens_at: 2098-12-01T11:00:00Z", 503, "closed"),
        ("mode: on, closes_at: 2020-12-01T11:00:00Z", 503, "closed"),
    ],
)
async def test_a_closed_room_says_when_it_opens(
    gateways: Gateways, settings: str, status: int, state: str
) -> None:
    gateway = await gateways.start(PAGES.replace("capacity: 1, page: {title", f"{settings}, page: {{title"))
    browser = Browser(gateway)
    await first_visit(browser)
    answer = await browser("GET", "/shop/page", NAVIGATION)
    assert (answer.status, attributes(answer)["state"]) == (status, state)
    opens = attributes(answer)["opens"]
    assert bool(opens) == ("opens_at" in settings)
    assert ("2098-12-01 11:00 UTC" in answer.body.decode()) == bool(opens)


async def test_a_navigation_lines_up_and_other_calls_do_not(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    inside, waiting = Browser(gateway), Browser(gateway)
    for browser in (inside, waiting):
        await first_visit(browser)
        # A call of a script takes no place, and neither does HEAD.
        assert (await browser("GET", "/shop/page")).code == "NOT_IN_QUEUE"
        assert (await browser("HEAD", "/shop/page", NAVIGATION)).status == 503
        assert (await browser("GET", "/api/v1/queue/status")).status == 404
    assert (await inside("GET", "/shop/page", NAVIGATION)).status == 200
    answer = await waiting("GET", "/shop/page", NAVIGATION)
    assert (answer.status, attributes(answer)["state"]) == (503, "waiting")
    # A reload keeps the place.
    status = json.loads(attributes(await waiting("GET", "/shop/page", NAVIGATION))["status"])
    assert status["ticket"] == json.loads(attributes(answer)["status"])["ticket"]


async def test_no_answer_loaded_in_advance_is_a_page(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    answer = await browser("GET", "/shop/page", NAVIGATION | {"Sec-Purpose": "prefetch"})
    assert (answer.status, answer.code) == (403, "PREFETCH_REFUSED")


async def test_a_path_is_no_part_of_the_page(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES.replace("GET /shop/page", "GET /shop/page/**"))
    browser = Browser(gateway)
    answer = await browser(
        "GET", "/shop/page/%22%3E%3Cscript%3Ealert(1)?next=//evil.example&room=x", NAVIGATION
    )
    assert "alert(1)" not in answer.body.decode()
    assert "evil.example" not in answer.body.decode()


def test_the_first_in_line_ask_most_often() -> None:
    assert [poll_seconds(position) for position in (1, 20, 55, 100, 100_000)] == [2, 2, 5, 10, 10]


@pytest.mark.parametrize(("letters", "image"), [(50, True), (3000, False)])
async def test_an_address_that_is_too_long_for_a_qr_code_is_shown_without(
    gateways: Gateways, letters: int, image: bool
) -> None:
    """The client chooses ``Host``, and a large code would take the gateway's time."""
    _, waiting = await gateway_with_line(gateways)
    host = "a" * letters
    page = await waiting("GET", "/api/v1/queue/transfer", NAVIGATION | {"Host": host})
    text = page.body.decode()
    assert page.status == 200
    assert f"http://{host}/api/v1/queue/transfer/" in text
    assert ('<div data-show="transfer" class="q-qr">' in text) is image
    assert ('<div data-show="transfer" class="q-qr" hidden>' in text) is not image
