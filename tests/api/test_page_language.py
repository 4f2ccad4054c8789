"""The language of the page, and the cookie that keeps it."""

from __future__ import annotations

import pytest

from gateway.pages.waiting_page.texts import texts_of
from tests.api.test_queue_visitors import Browser
from tests.api.test_waiting_page import NAVIGATION, PAGES, gateway_with_line
from tests.support.gateway import Gateways

LANGUAGE = "/api/v1/queue/language"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def choose(browser: Browser, body: str, referer: str = "") -> tuple[int, str, list[str]]:
    sent = NAVIGATION | FORM | ({"Referer": referer} if referer else {})
    answer = await browser("POST", LANGUAGE, sent, data=body)
    return answer.status, answer.headers.get("Location", ""), list(answer.headers.getall("Set-Cookie", ()))  # type: ignore[attr-defined]


async def test_the_menus_choice_wins_over_accept_language(gateways: Gateways) -> None:
    gateway, browser = await gateway_with_line(gateways)
    status, location, cookies = await choose(browser, "language=ja", f"{gateway.base}/shop/page?a=1")
    assert (status, location) == (303, "/shop/page?a=1")
    assert cookies == ["queue-language=ja; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"]
    answer = await browser("GET", "/shop/page", NAVIGATION | {"Accept-Language": "de"})
    assert texts_of("ja")["waiting.title"] in answer.body.decode()
    assert answer.headers["Content-Language"] == "ja"


@pytest.mark.parametrize("value", ["xx", "ja; Domain=x", "", "%0d%0aX: y"])
async def test_a_language_that_there_is_not_is_refused(gateways: Gateways, value: str) -> None:
    gateway = await gateways.start(PAGES)
    status, _, cookies = await choose(Browser(gateway), f"language={value}")
    assert (status, cookies) == (400, [])


async def test_a_cookie_with_another_value_counts_as_none(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    browser.cookies["queue-language"] = "xx"
    answer = await browser("GET", "/shop/page", NAVIGATION | {"Accept-Language": "de"})
    assert answer.headers["Content-Language"] == "de"


@pytest.mark.parametrize(
    "lines", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
async def test_a_foreign_page_changes_no_language(gateways: Gateways, lines: dict[str, str]) -> None:
    gateway = await gateways.start(PAGES)
    answer = await gateway.nobody("POST", LANGUAGE, headers=FORM | lines, data="language=ja")
    assert (answer.status, answer.code) == (403, "CSRF_REJECTED")
    assert "Set-Cookie" not in answer.headers


async def test_services_never_see_the_choice(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    browser = Browser(gateway, {"Cookie": "a=1; queue-language=ja; b=2"})
    answer = await browser("GET", "/shop/free", {"Cookie": "a=1; queue-language=ja; b=2"})
    assert "queue-language" not in answer.body.decode()
    assert "a=1" in answer.body.decode()
