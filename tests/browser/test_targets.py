"""What browsers and tools really put into a request line, and that it reaches the service with one meaning."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import web

from gateway.routing.path import parse_target
from tests.browser.chromium import browser
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening

ROUTES = """
routes:
  - {id: shop, uri: "%(service)s", predicates: ["Path=/shop/**"]}
access:
  public: ["/shop/**"]
"""
PRINTABLE = [chr(code) for code in range(0x21, 0x7F)]
# Each alone in a path and in a query, from a page of the gateway's own origin.
PAGE = """<!doctype html><title>Characters</title><script>
const characters = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const ask = async (target) => {
  try { return (await fetch(target, {headers: {'X-Asked': encodeURIComponent(target)}})).status; }
  catch (error) { return error.name; }
};
const main = async () => {
  const statuses = {};
  for (const each of characters) {
    statuses['path ' + each] = await ask('/shop/path/a' + each + 'b');
    statuses['query ' + each] = await ask('/shop/query?a' + each + 'b=' + each);
  }
  statuses.propfind = await fetch('/shop/dav', {method: 'PROPFIND', body: '<a/>'}).then((answer) => answer.status);
  await fetch('/shop/report', {method: 'POST', body: JSON.stringify(statuses)});
};
main();
</script>"""


class Shop:
    """A service that remembers the targets it was asked for, by what the page meant to ask."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.methods: list[tuple[str, str]] = []
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/shop/page.html":
            return web.Response(text=PAGE, content_type="text/html")
        body = await request.text()
        if request.path == "/shop/report":
            self.reports.put_nowait(json.loads(body))
        self.methods.append((request.method, body))
        self.seen[unquote(request.headers.get("X-Asked", ""))] = request.raw_path
        return web.Response()


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    served = Shop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url:
        yield served, url


@pytest.fixture
async def gateway(tmp_path: Path, redis_url: str, shop: tuple[Shop, str]) -> AsyncIterator[Running]:
    async with Gateways(tmp_path, redis_url) as gateways:
        gateways.service.url = shop[1]
        yield await gateways.start(ROUTES)


async def visit(base: str, shop: Shop, profile: Path) -> dict[str, Any]:
    wanted = quote(json.dumps(PRINTABLE), safe="")
    async with browser(f"{base}/shop/page.html#{wanted}", profile), asyncio.timeout(50):
        return await shop.reports.get()


async def test_whatever_a_page_asks_for_reaches_the_service_in_one_form(
    gateway: Running, shop: tuple[Shop, str], tmp_path: Path
) -> None:
    served, url = shop
    await visit(url, served, tmp_path / "straight")
    raw, served.seen = served.seen, {}
    statuses = await visit(gateway.base, served, tmp_path / "through")
    # A bare percent sign and a parameter have no one meaning in a path; the rest of a fragment is never sent.
    assert {asked for asked, status in statuses.items() if status != 200} == {"path %", "path ;"}
    for asked, seen in served.seen.items():
        if asked:
            sent = raw[asked]
            assert seen.partition("?")[1:] == sent.partition("?")[1:], "a query goes on as it came"
            assert parse_target(seen).path == parse_target(sent).path
            assert not set("|[]^") & set(seen.partition("?")[0])
    assert ("PROPFIND", "<a/>") in served.methods


@pytest.mark.parametrize(
    "target",
    [
        "/shop/a|b[1]^?c=|[]^",
        "/shop/a?",
        "/shop/a?{}`\"<>\\'%zz%&%0D%0A",
    ],
)
async def test_what_curl_sends_as_it_was_typed_passes(
    gateway: Running, shop: tuple[Shop, str], target: str
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        curl,
        *("--globoff", "--path-as-is", "--silent", "--max-time", "20", "--request", "REPORT"),
        *("--header", "X-Asked: curl", "--write-out", "%{http_code}", "--data", "x", gateway.base + target),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert output == b"200"
    path, mark, query = target.partition("?")
    assert shop[0].seen["curl"] == quote(path, safe="/") + mark + query
    assert shop[0].methods == [("REPORT", "x")]
