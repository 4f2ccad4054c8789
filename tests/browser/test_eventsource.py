"""A real browser waits in line: EventSource, its reconnects, and the beacon of a page that is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.context import ROOMS
from tests.browser.chromium import browser
from tests.support.gateway import Gateways
from tests.support.listening import listening

ROUTES = """
routes:
  - {id: pages, uri: "%(service)s", predicates: ["Path=/pages/**"]}
access:
  public: ["GET /pages/**", "POST /pages/**"]
"""

WAITING = """<!doctype html><title>Waiting</title><h1 id=place>…</h1><script>
const token = location.hash.slice(1), seen = [];
const tell = (what) => { seen.push(what); document.title = what; };
const stream = new EventSource('/api/v1/queue/stream?access_token=' + token);
stream.addEventListener('STATUS_UPDATE', (event) => {
  const status = JSON.parse(event.data);
  place.textContent = status.userQueuePosition + ' of ' + status.totalQueueSize;
  tell('STATUS_UPDATE ' + status.userQueuePosition);
  fetch('/pages/waiting', {method: 'POST'});
});
stream.addEventListener('ALLOWED_IN', (event) => tell('ALLOWED_IN ' + event.lastEventId));
stream.addEventListener('ERROR', (event) => tell('ERROR ' + JSON.parse(event.data).code));
stream.onerror = () => {
  tell('closed ' + stream.readyState);
  fetch('/pages/report', {method: 'POST', body: JSON.stringify(seen)});
};
</script>"""

LEAVING = """<!doctype html><title>Leaving</title><script>
const form = new URLSearchParams({access_token: location.hash.slice(1)});
addEventListener('pagehide', () => navigator.sendBeacon('/api/v1/queue/leave', form));
location.href = 'about:blank';
</script>"""


class Pages:
    """A service with the pages, which report to it."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.reports: asyncio.Queue[list[str]] = asyncio.Queue()

    async def page(self, request: web.Request) -> web.Response:
        text = {"waiting.html": WAITING, "leaving.html": LEAVING}[request.match_info["name"]]
        return web.Response(text=text, content_type="text/html")

    async def is_waiting(self, _request: web.Request) -> web.Response:
        self.waiting.set()
        return web.Response(status=204)

    async def report(self, request: web.Request) -> web.Response:
        self.reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/pages/{name}", self.page)
        app.router.add_post("/pages/waiting", self.is_waiting)
        app.router.add_post("/pages/report", self.report)
        return app


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Pages, str]]:
    served = Pages()
    runner = web.AppRunner(served.app(), access_log=None, shutdown_timeout=1.0)
    async with listening(runner) as url:
        yield served, url


@pytest.fixture
async def gateways(tmp_path: Path, redis_url: str, pages: tuple[Pages, str]) -> AsyncIterator[Gateways]:
    async with Gateways(tmp_path, redis_url) as started:
        started.service.url = pages[1]
        yield started


def address(base: str, page: str, token: Any) -> str:
    return f"{base}/pages/{page}#{token}"


async def test_a_browser_sees_its_place_gets_in_and_does_not_come_back(
    gateways: Gateways, pages: tuple[Pages, str], tmp_path: Path
) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.user("first").lineup()
    user = gateway.user("second")
    await user.lineup()
    async with browser(address(gateway.base, "waiting.html", user.token), tmp_path / "profile"):
        async with asyncio.timeout(30):
            await pages[0].waiting.wait()
            await gateway.user("first")("POST", "/api/v1/queue/leave")
            report = await pages[0].reports.get()
    assert report[0] == "STATUS_UPDATE 1"
    assert "ALLOWED_IN end" in report
    # 0: it would come back, but not before the session is over.
    assert report[-1] == "closed 0"


async def test_a_browser_that_is_told_the_end_stops_for_good(
    gateways: Gateways, pages: tuple[Pages, str], tmp_path: Path
) -> None:
    gateway = await gateways.start(ROUTES, allowed_in_duration_seconds=2)
    await gateway.user("first").lineup()
    user = gateway.user("first")
    async with browser(address(gateway.base, "waiting.html", user.token), tmp_path / "profile"):
        async with asyncio.timeout(30):
            while (report := await pages[0].reports.get())[-1] != "closed 2":
                pass
    assert report[0] == "ALLOWED_IN end"


async def test_a_page_that_is_closed_gives_up_its_place(
    gateways: Gateways, pages: tuple[Pages, str], tmp_path: Path
) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.user("first").lineup()
    user = gateway.user("second")
    await user.lineup()
    room = gateway.app[ROOMS]["default"]
    async with browser(address(gateway.base, "leaving.html", user.token), tmp_path / "profile"):
        async with asyncio.timeout(30):
            while (await room.overview()).waiting:
                await asyncio.sleep(0.05)
    assert (await user.status()).code == "NOT_IN_QUEUE"
