"""Places of visitors that become those of users, over real HTTP."""

from __future__ import annotations

import pytest

from gateway.context import OBSERVERS
from tests.api.test_queue_visitors import ROUTES, Browser
from tests.support.gateway import Gateways, Running, Stream

LINEUP, STATUS = "/api/v1/queue/lineup?room=both", "/api/v1/queue/status?room=both"


async def visitor(gateway: Running) -> Browser:
    """A visitor who has lined up."""
    browser = Browser(gateway)
    await browser.arrive()
    await browser("POST", LINEUP)
    return browser


def signed_in(gateway: Running, browser: Browser, user: str = "kim") -> Browser:
    """The same browser, once it has a token."""
    token = gateway.issuer.token(user)
    signed = Browser(gateway, {"Authorization": f"Bearer {token}"})
    signed.cookies = browser.cookies
    return signed


@pytest.mark.parametrize("relineup", ["back", "keep"])
async def test_who_signs_in_while_waiting_keeps_the_ticket_and_the_old_stream_hears_it(
    gateways: Gateways, relineup: str
) -> None:
    gateway = await gateways.start(ROUTES, queue_relineup=relineup)
    await gateway.user("inside").lineup(room="both")
    ann = await visitor(gateway)
    behind = await visitor(gateway)
    assert (await ann("GET", STATUS)).json["data"]["userQueuePosition"] == 1
    kim = signed_in(gateway, ann)
    # Before the first lineup with both, the user has no place.
    assert (await kim("GET", STATUS)).code == "NOT_IN_QUEUE"
    async with ann.stream("/api/v1/queue/stream?room=both") as stream:  # type: ignore[attr-defined]
        assert isinstance(stream, Stream)
        await stream.until("STATUS_UPDATE")
        answer = await kim("POST", LINEUP)
        assert (answer.json["state"], answer.json["data"]["userQueuePosition"]) == ("WAITING", 1)
        told = await stream.until("ERROR")
        assert told.data["code"] == "MOVED"
        assert "moved" in told.data["message"]
    assert (await ann("GET", STATUS)).code == "NOT_IN_QUEUE"
    assert (await behind("GET", STATUS)).json["data"]["userQueuePosition"] == 2
    moved = gateway.app[OBSERVERS].metrics.registry.get_sample_value(
        "gateway_places_moved_total", {"room": "both", "to": "user"}
    )
    assert moved == 1


async def test_who_signs_in_while_inside_keeps_the_slot(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    ann = await visitor(gateway)
    kim = signed_in(gateway, ann)
    assert (await kim("POST", LINEUP)).json["state"] == "ALLOWED_IN"
    assert (await kim("POST", "/shop/both")).status == 200
    assert dict(gateways.service.seen[-1]["headers"])["X-User-Id"] == "kim"
    assert (await ann("POST", "/shop/both")).code == "NOT_IN_QUEUE"


async def test_a_user_with_a_better_place_keeps_it_and_the_visitors_is_given_up(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.user("inside").lineup(room="both")
    await gateway.user("kim").lineup(room="both")
    ann, behind = await visitor(gateway), await visitor(gateway)
    answer = await signed_in(gateway, ann)("POST", LINEUP)
    assert (answer.json["data"]["ticket"], answer.json["data"]["userQueuePosition"]) == (1, 1)
    assert (await behind("GET", STATUS)).json["data"]["userQueuePosition"] == 2


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_foreign_page_moves_no_place(gateways: Gateways, origin: str) -> None:
    """With a token of its own, and the cookie that the browser adds."""
    gateway = await gateways.start(ROUTES)
    await gateway.user("inside").lineup(room="both")
    ann = await visitor(gateway)
    thief = signed_in(gateway, ann, "mallory")
    lines = {"Sec-Fetch-Site": "cross-site", "Origin": origin}
    assert (await thief("POST", LINEUP, headers=lines)).json["data"]["userQueuePosition"] == 2
    assert (await ann("GET", STATUS)).json["data"]["userQueuePosition"] == 1


async def test_a_visitor_without_a_place_changes_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    browser = Browser(gateway)
    await browser.arrive()
    kim = signed_in(gateway, browser)
    assert (await kim("POST", LINEUP)).json["state"] == "ALLOWED_IN"
    # The same again: the lineup of a user who is inside.
    assert (await kim("POST", LINEUP)).json["state"] == "ALLOWED_IN"
