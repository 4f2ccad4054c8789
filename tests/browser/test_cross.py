"""A real browser with a page of another origin than the gateway's: lining up, streaming, being refused, leaving."""

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
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening

ROUTES = """
routes:
  - {id: sale, uri: "%(service)s", predicates: ["Path=/api/v1/**"]}
gates:
  - calls: [POST /api/v1/reservations]
cors:
  cors-configurations:
    '[/api/**]':
      allowedOrigins: "%(service)s"
      allowedMethods: [GET, POST]
      allowedHeaders: [Authorization, Content-Type]
      exposedHeaders: [Retry-After]
      allowCredentials: true
      maxAge: 60
"""

# The token is in a cookie too, which goes to every port of the host.
PAGE = """<!doctype html><title>Sale</title><script>
const [token, gateway] = location.hash.slice(1).split('|'), seen = [];
document.cookie = 'token=' + token + '; path=/';
const call = async (method, path, options = {}) => {
  try {
    const answer = await fetch(gateway + path, {method, ...options});
    const body = answer.status === 204 ? {} : await answer.json();
    return [answer.status, (body.error ? body.error.code : body.state), answer.headers.get('Retry-After')].join(' ');
  } catch (error) { return error.name; }
};
const headers = {Authorization: 'Bearer ' + token, 'Content-Type': 'application/json'};
const report = () => fetch('/pages/report', {method: 'POST', body: JSON.stringify(seen)});
const main = async () => {
  seen.push('lineup ' + await call('POST', '/api/v1/queue/lineup', {headers}));
  seen.push('gate ' + await call('POST', '/api/v1/reservations', {headers, body: '{}'}));
  seen.push('none ' + await call('POST', '/api/v1/reservations', {headers: {'Content-Type': 'application/json'}}));
  seen.push('put ' + await call('PUT', '/api/v1/reservations', {headers, body: '{}'}));
  seen.push('header ' + await call('GET', '/api/v1/products', {headers: {'X-Other': '1'}}));
  const stream = new EventSource(gateway + '/api/v1/queue/stream', {withCredentials: true});
  stream.addEventListener('STATUS_UPDATE', async (event) => {
    stream.close();
    seen.push('stream ' + JSON.parse(event.data).userQueuePosition);
    navigator.sendBeacon(gateway + '/api/v1/queue/leave');
    report();
  });
  stream.onerror = () => {
    if (stream.readyState === 2) {
      seen.push('stream closed');
      navigator.sendBeacon(gateway + '/api/v1/queue/leave', new URLSearchParams({access_token: token}));
      report();
    }
  };
};
main();
</script>"""


class Sale:
    """The web shop: its page, and the service behind the gateway."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[list[str]] = asyncio.Queue()
        self.sold = 0

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def report(self, request: web.Request) -> web.Response:
        self.reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)

    async def sell(self, _request: web.Request) -> web.Response:
        self.sold += 1
        return web.json_response({"state": "SOLD"})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/pages/sale.html", self.page)
        app.router.add_post("/pages/report", self.report)
        app.router.add_route("*", "/api/{path:.*}", self.sell)
        return app


@pytest.fixture
async def sale() -> AsyncIterator[tuple[Sale, str]]:
    served = Sale()
    async with listening(web.AppRunner(served.app(), access_log=None, shutdown_timeout=1.0)) as url:
        yield served, url


@pytest.fixture
async def gateway(tmp_path: Path, redis_url: str, sale: tuple[Sale, str]) -> AsyncIterator[Running]:
    async with Gateways(tmp_path, redis_url) as gateways:
        gateways.service.url = sale[1]
        yield await gateways.start(ROUTES, jwt_cookie_name="token")


async def visit(gateway: Running, page: str, token: Any, profile: Path, sale: Sale) -> list[str]:
    async with browser(f"{page}/pages/sale.html#{token}|{gateway.base}", profile), asyncio.timeout(40):
        return await sale.reports.get()


async def test_a_page_of_an_allowed_origin_waits_in_line_and_leaves(
    gateway: Running, sale: tuple[Sale, str], tmp_path: Path
) -> None:
    await gateway.user("first").lineup()
    user = gateway.user("second")
    room = gateway.app[ROOMS]["default"]
    report = await visit(gateway, sale[1], user.token, tmp_path / "profile", sale[0])
    assert report == [
        "lineup 200 WAITING ",
        "gate 429 QUEUE_WAITING 10",
        "none 401 TOKEN_REQUIRED ",
        "put TypeError",
        "header TypeError",
        "stream 1",
    ]
    assert sale[0].sold == 0
    async with asyncio.timeout(10):
        while (await room.overview()).waiting:
            await asyncio.sleep(0.05)


async def test_a_page_of_another_origin_can_do_nothing(
    gateway: Running, sale: tuple[Sale, str], tmp_path: Path
) -> None:
    user = gateway.user("first")
    await user.lineup()
    page = sale[1].replace("127.0.0.1", "localhost")
    report = await visit(gateway, page, user.token, tmp_path / "profile", sale[0])
    assert report == [
        "lineup TypeError",
        "gate TypeError",
        "none TypeError",
        "put TypeError",
        "header TypeError",
        "stream closed",
    ]
    assert sale[0].sold == 0
    # The beacon, which no preflight precedes, was refused as well.
    assert (await user.status()).json["state"] == "ALLOWED_IN"
