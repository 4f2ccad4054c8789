"""The examples of the docs, as they stand there, with a real gateway: in Chromium, and in Node."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway.context import ROOMS
from tests.browser.chromium import page
from tests.browser.waiting import Visitor
from tests.client.conftest import CLIENT
from tests.support.gateway import Gateways
from tests.support.listening import listening
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(150)

PAGE = (CLIENT.parents[1] / "docs/how-to/javascript-client.md").read_text(encoding="utf-8")
HEADING = "document.getElementById('place')?.textContent"
TEXT = "document.body?.innerText.trim()"
TOKEN_ROUTES = """
routes:
  - {id: shop, uri: "%(service)s", predicates: ["Path=/shop/**"]}
  - {id: reservations, uri: "%(service)s", predicates: ["Path=/api/v1/reservations"]}
gates:
  - calls: [POST /api/v1/reservations]
access:
  public: [GET /shop/*]
"""


def block(language: str) -> str:
    """The only block of code in that language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[str]:
    """A service with the files of ``folder`` below ``/shop``, which takes reservations."""

    async def reserve(request: web.Request) -> web.Response:
        return web.json_response({"reserved": await request.json(), "user": request.headers["X-User-Id"]})

    app = web.Application()
    app.router.add_static("/shop", folder)
    app.router.add_post("/api/v1/reservations", reserve)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url:
        yield url


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


async def test_the_plain_page_waits_keeps_its_place_and_enters(
    gateways: Gateways, files: Path, tmp_path: Path
) -> None:
    (files / "wait.html").write_text(block("html"), encoding="utf-8")
    (files / "checkout.html").write_text("<p>Pay here.</p>", encoding="utf-8")
    shutil.copytree(CLIENT / "src", files / "queue")
    async with shop(files) as gateways.service.url:
        gateway = await gateways.start(block("yaml").replace("http://127.0.0.1:8101", "%(service)s"))
        first = Visitor(gateway)
        await first.lineup()
        async with page(f"{gateway.base}/shop/wait.html", tmp_path / "profile") as opened:
            for _ in range(2):
                await opened.until(f"{HEADING} === 'Place 1'")
                await opened.reload()
            await opened.until(f"{HEADING} === 'Place 1'")
            assert await first.post("leave") == 204
            await opened.until(f"{TEXT} === 'Pay here.'")


async def test_the_plain_page_lets_the_user_leave(gateways: Gateways, files: Path, tmp_path: Path) -> None:
    (files / "wait.html").write_text(block("html"), encoding="utf-8")
    shutil.copytree(CLIENT / "src", files / "queue")
    async with shop(files) as gateways.service.url:
        gateway = await gateways.start(block("yaml").replace("http://127.0.0.1:8101", "%(service)s"))
        first = Visitor(gateway)
        await first.lineup()
        async with page(f"{gateway.base}/shop/wait.html", tmp_path / "profile") as opened:
            await opened.click("#leave:not([hidden])")
            await opened.until(f"{HEADING} === 'You have left the line.'")


async def test_in_a_frame_of_another_site_the_plain_page_offers_a_full_window(
    gateways: Gateways, files: Path, tmp_path: Path
) -> None:
    (files / "wait.html").write_text(block("html"), encoding="utf-8")
    shutil.copytree(CLIENT / "src", files / "queue")
    app = web.Application()

    async def frame(request: web.Request) -> web.Response:
        text = f'<!doctype html><title>Elsewhere</title><iframe src="{request.query["page"]}"></iframe>'
        return web.Response(text=text, content_type="text/html")

    app.router.add_get("/", frame)
    async with (
        shop(files) as gateways.service.url,
        listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as elsewhere,
    ):
        gateway = await gateways.start(block("yaml").replace("http://127.0.0.1:8101", "%(service)s"))
        await Visitor(gateway).lineup()
        framed = f"{gateway.base}/shop/wait.html"
        # Another site, and not only another origin.
        other = elsewhere.replace("127.0.0.1", "localhost")
        async with page(f"{other}/?page={framed}", tmp_path / "profile") as opened:
            async with opened.framed(framed) as inside:
                await inside.until("!document.getElementById('full').hidden")
                assert await inside.evaluate(HEADING) != "Place 1"
                click = "document.getElementById('full').click()"
                await inside.ask("Runtime.evaluate", expression=click, userGesture=True)

            async def in_full() -> bool:
                return [each["url"] for each in await opened.tabs()].count(framed) == 1

            await eventually(in_full)
            async with opened.opened(framed) as full:
                await full.until(f"{HEADING} === 'Place 1'")
                assert await full.evaluate("document.getElementById('full').hidden") is True
            summary = await gateway.app[ROOMS]["default"].overview()
            assert (summary.allowed_in, summary.waiting) == (1, 1)


async def test_the_react_component_waits_leaves_comes_back_and_enters(
    gateways: Gateways, files: Path, tmp_path: Path, packed_client: Path, installed_client: Path
) -> None:
    source = tmp_path / "app.jsx"
    source.write_text(block("jsx"), encoding="utf-8")
    subprocess.run(
        [
            *(installed_client / "node_modules/.bin/esbuild", source, "--bundle", "--jsx=automatic"),
            f"--outfile={files / 'app.js'}",
        ],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(packed_client.parent)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    html = "<!doctype html><title>Shop</title><div id=root></div><script src=app.js></script>"
    (files / "index.html").write_text(html, encoding="utf-8")
    async with shop(files) as gateways.service.url:
        gateway = await gateways.start(TOKEN_ROUTES)
        first, second = gateway.user("first"), gateway.user("second")
        await first.lineup()
        async with page(f"{gateway.base}/shop/index.html#{second.token}", tmp_path / "profile") as opened:
            await opened.until(f"{TEXT}.startsWith('Place 1')")
            await opened.click("button")
            await opened.until(f"{TEXT}.startsWith('You have left the line.')")
            await opened.click("button")
            await opened.until(f"{TEXT}.startsWith('Place 1')")
            assert (await second.status()).json["data"]["ticket"] == 2
            await first("POST", "/api/v1/queue/leave")
            await opened.until(f"{TEXT} === 'Pay here.'")
            assert not any(str(second.token) in each for each in opened.requested if "/api/" in each)


async def test_the_node_script_waits_and_buys(
    gateways: Gateways, files: Path, node: str, packed_client: Path
) -> None:
    script = packed_client.parents[1] / "buy.mjs"
    script.write_text(block("js"), encoding="utf-8")
    async with shop(files) as gateways.service.url:
        gateway = await gateways.start(TOKEN_ROUTES)
        first, second = gateway.user("first"), gateway.user("second")
        await first.lineup()
        process = await asyncio.create_subprocess_exec(
            node,
            script,
            env={"GATEWAY": gateway.base, "TOKEN": str(second.token)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(60):
                assert await process.stderr.readline() == b"WAITING 1\n"
                await first("POST", "/api/v1/queue/leave")
                said, rest = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert said == b'200 {"reserved": {"seats": 2}, "user": "second"}\n'
        assert rest.splitlines()[-1] == b"ALLOWED_IN "
