"""Swagger UI in a real browser: the list of services, what each can do, and one that is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.browser.chromium import Page, page
from tests.support.gateway import Gateways
from tests.support.listening import listening

ROUTES = """
routes:
  - {id: shop, uri: lb://shop, predicates: ["Path=/api/v1/products/**"]}
  - {id: shop-docs, uri: lb://shop, predicates: ["Path=/shop/v3/api-docs/**"], filters: [StripPrefix=1]}
  - {id: gone-docs, uri: "http://127.0.0.1:1", predicates: ["Path=/gone/v3/api-docs/**"], filters: [StripPrefix=1]}
services:
  shop: ["%(service)s"]
access:
  public: ["GET /{service}/v3/api-docs/**", GET /api/v1/products]
"""

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "What is on sale", "version": "7"},
    "servers": [{"url": "http://10.1.2.3:8080", "description": "Generated server url"}],
    "paths": {
        "/api/v1/products": {
            "get": {
                "operationId": "all",
                "tags": ["products"],
                "responses": {"200": {"description": "All", "content": {"application/json": {}}}},
            }
        }
    },
}

OPERATIONS = "[...document.querySelectorAll('.opblock-summary-path')].map(e => e.dataset.path)"
OPTIONS = "[...document.querySelectorAll('.topbar select option')].map(e => e.text)"
TITLE = "document.querySelector('.info .title')?.innerText ?? ''"


@pytest.fixture
async def gateways(tmp_path: Path, redis_url: str) -> AsyncIterator[Gateways]:
    async def document(_request: web.Request) -> web.Response:
        return web.json_response(DOCUMENT)

    async def products(_request: web.Request) -> web.Response:
        return web.json_response(["one concert"])

    shop = web.Application()
    shop.router.add_get("/v3/api-docs", document)
    shop.router.add_get("/api/v1/products", products)
    runner = web.AppRunner(shop, access_log=None, shutdown_timeout=1.0)
    async with listening(runner) as url, Gateways(tmp_path, redis_url) as started:
        started.service.url = url
        yield started


def strangers(opened: Page, base: str) -> list[str]:
    """What the page asked of anybody but the gateway."""
    return [url for url in opened.requested if not url.startswith((base + "/", "data:", "about:", "blob:"))]


async def choose(opened: Page, name: str) -> None:
    """Takes a definition from the drop-down list, as a person would."""
    await opened.evaluate(
        f"""(() => {{
          const list = document.querySelector('.topbar select');
          const option = [...list.options].find(each => each.text.startsWith('{name}'));
          Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(list, option.value);
          list.dispatchEvent(new Event('change', {{bubbles: true}}));
        }})()"""
    )


@pytest.mark.timeout(150)
async def test_all_services_are_in_the_list_and_one_that_is_away_is_marked(
    gateways: Gateways, tmp_path: Path
) -> None:
    gateway = await gateways.start(ROUTES)
    async with page(f"{gateway.base}/swagger-ui.html", tmp_path / "profile") as opened:
        await opened.until(f"{OPERATIONS}.includes('/api/v1/queue/lineup')")
        assert await opened.evaluate(OPTIONS) == ["gateway-server", "shop", "gone (not available)"]
        assert await opened.evaluate("location.pathname") == "/swagger-ui/index.html"
        described = (
            await gateway.nobody("GET", "/v3/api-docs", headers={"Accept-Encoding": "identity"})
        ).json
        assert set(await opened.evaluate(OPERATIONS)) == set(described["paths"])
        await opened.picture(tmp_path / "gateway.png")

        await choose(opened, "gone")
        await opened.until(f"{TITLE}.startsWith('gone (not available)')")
        assert "UPSTREAM_UNREACHABLE" in await opened.evaluate("document.body.innerText")
        await opened.picture(tmp_path / "gone.png")

        await choose(opened, "shop")
        await opened.until(f"{TITLE}.startsWith('What is on sale')")
        assert await opened.evaluate(OPERATIONS) == ["/api/v1/products"]
        for selector in (".opblock-summary-control", ".try-out__btn", "button.execute"):
            await opened.click(selector)
        await opened.until(
            "document.querySelector('.live-responses-table')?.innerText.includes('one concert')"
        )
        await opened.picture(tmp_path / "shop.png")
        assert f"{gateway.base}/api/v1/products" in opened.requested
        assert "10.1.2.3" not in await opened.evaluate("document.documentElement.outerHTML")

        assert strangers(opened, gateway.base) == []
        # That a service is away is all the browser may complain of.
        assert [each for each in opened.complaints if "/gone/v3/api-docs" not in each] == []


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("wanted", "title"), [("shop", "What is on sale"), ("gone", "gone (not available)")])
async def test_an_address_may_name_the_service_to_show(
    gateways: Gateways, tmp_path: Path, wanted: str, title: str
) -> None:
    gateway = await gateways.start(ROUTES)
    address = f"{gateway.base}/swagger-ui/index.html?urls.primaryName={wanted}"
    async with page(address, tmp_path / "profile") as opened:
        await opened.until(f"{TITLE}.startsWith('{title}')")


@pytest.mark.timeout(150)
async def test_the_settings_may_name_the_services_and_the_one_to_show(
    gateways: Gateways, tmp_path: Path
) -> None:
    documents = "Queue=/v3/api-docs,What is sold=/shop/v3/api-docs"
    gateway = await gateways.start(ROUTES, api_documents=documents, api_document_first="What is sold")
    async with page(f"{gateway.base}/swagger-ui/index.html", tmp_path / "profile") as opened:
        await opened.until(f"{TITLE}.startsWith('What is on sale')")
        assert await opened.evaluate(OPTIONS) == ["Queue", "What is sold"]
