"""The page's own addresses: files, the page after leaving, and taking the place to another device by forms."""

from __future__ import annotations

import re

import pytest

from gateway.pages.waiting_page.assets import PATH, assets
from tests.api.test_queue_visitors import Browser
from tests.api.test_waiting_page import NAVIGATION, PAGES, attributes, first_visit, gateway_with_line
from tests.support.gateway import Gateways

LEAVE, TRANSFER, STATUS = "/api/v1/queue/leave", "/api/v1/queue/transfer", "/api/v1/queue/status"


@pytest.mark.parametrize("name", sorted(assets().by_name))
async def test_a_file_is_kept_for_ever_and_needs_nothing(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(PAGES)
    answer = await gateway.nobody("GET", f"{PATH}/{name}", headers={"Accept-Encoding": "identity"})
    assert (answer.status, answer.body) == (200, assets().by_name[name].body)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Set-Cookie" not in answer.headers
    head = await gateway.nobody("HEAD", f"{PATH}/{name}")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("name", ["page.0000000000000000.js", "page.js", "..%2fpage.html", "%2e%2e", "x"])
async def test_an_unknown_file_is_not_kept(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(PAGES)
    answer = await gateway.nobody("GET", f"{PATH}/{name}")
    assert answer.status in (400, 404)
    assert answer.headers["Cache-Control"] == "no-store"


async def test_what_a_page_loads_is_there(gateways: Gateways) -> None:
    gateway, browser = await gateway_with_line(gateways)
    text = (await browser("GET", "/shop/page", NAVIGATION)).body.decode()
    loaded = set(re.findall(rf'(?:src|href)="({PATH}/[^"]+)"', text))
    assert len(loaded) == 2
    for address in loaded:
        assert (await gateway.nobody("GET", address)).status == 200


async def test_leaving_by_the_form_ends_on_a_page_of_its_own(gateways: Gateways) -> None:
    gateway, browser = await gateway_with_line(gateways)
    sent = NAVIGATION | {"Referer": f"{gateway.base}/shop/page?a=1"}
    answer = await browser("POST", LEAVE, sent)
    assert (answer.status, answer.headers["Location"]) == (303, "/api/v1/queue/left")
    assert (await browser("GET", STATUS)).status == 404
    page = await browser("GET", "/api/v1/queue/left", sent)
    assert (page.status, attributes(page)["state"]) == (200, "left")
    assert 'id="back" class="q-button" href="/shop/page?a=1"' in page.body.decode()


async def test_leaving_by_a_script_is_as_before(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    assert (await browser("POST", LEAVE)).status == 204


async def test_a_room_without_a_page_has_none_after_leaving(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    answer = await gateway.nobody("GET", "/api/v1/queue/left?room=plain", headers=NAVIGATION)
    assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")


async def test_a_place_goes_to_another_device_by_forms(gateways: Gateways) -> None:
    gateway, browser = await gateway_with_line(gateways)
    sent = NAVIGATION | {"Referer": f"{gateway.base}/shop/page?a=1"}
    answer = await browser("POST", TRANSFER, sent)
    assert (answer.status, answer.headers["Location"]) == (303, TRANSFER)
    page = await browser("GET", TRANSFER, sent)
    text = page.body.decode()
    assert attributes(page)["state"] == "transfer"
    assert 'src="data:image/svg+xml' in text
    assert 'href="/shop/page?a=1"' in text
    address = re.search(r">http://[^<]*(/api/v1/queue/transfer/[a-z]{8})<", text)
    assert address is not None
    other = Browser(gateway)
    # A preview of the link uses no code.
    asked = await other("GET", address[1], NAVIGATION)
    assert (asked.status, attributes(asked)["state"]) == (200, "take-over")
    assert '<form method="post" action="">' in asked.body.decode()
    first = await other("POST", address[1], NAVIGATION)
    assert (first.status, attributes(first)["state"]) == (401, "cookies")
    moved = await other("POST", address[1], NAVIGATION)
    assert (moved.status, moved.headers["Location"]) == (303, "/shop/page?a=1")
    assert (await browser("GET", STATUS)).status == 404
    there = await other("GET", "/shop/page", NAVIGATION)
    assert attributes(there)["state"] == "waiting"


async def test_a_wrong_code_gets_a_page_too(gateways: Gateways) -> None:
    gateway = await gateways.start(PAGES)
    browser = Browser(gateway)
    await first_visit(browser)
    answer = await browser("POST", f"{TRANSFER}/bcdfghjk", NAVIGATION)
    assert (answer.status, attributes(answer)["state"]) == (404, "error")


async def test_other_clients_get_no_page_with_a_code(gateways: Gateways) -> None:
    _, browser = await gateway_with_line(gateways)
    answer = await browser("GET", TRANSFER)
    assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")
