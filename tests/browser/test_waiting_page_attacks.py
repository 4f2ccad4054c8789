"""What a page of another site can do about the place of a visitor, in a real browser: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.browser.chromium import Context
from tests.browser.waiting import Sale, Visitor, a_sale
from tests.support.gateway import Gateways
from tests.support.listening import listening

pytestmark = pytest.mark.timeout(120)

# Tries everything that needs no leave of the other site, and counts what came back.
EVIL = """<!doctype html><title>Evil</title><body><script>
const gateway = location.hash.slice(1), api = gateway + "/api/v1/queue/";
const done = [];
for (const [method, address] of [
  ["post", "leave"], ["post", "lineup"], ["post", "claim"], ["post", "transfer"], ["get", "leave"], ["get", "status"],
]) {
  const frame = document.createElement("iframe");
  frame.name = "frame" + done.length;
  document.body.append(frame);
  const form = document.body.appendChild(document.createElement("form"));
  Object.assign(form, {method, action: api + address, target: frame.name});
  done.push(new Promise((resolve) => frame.addEventListener("load", resolve, {once: true})));
  form.submit();
}
for (const address of ["leave", "lineup", "waiting-token"]) {
  done.push(fetch(api + address, {method: "POST", mode: "no-cors", credentials: "include"}).catch(() => 0));
  done.push(fetch(api + address, {method: "DELETE", credentials: "include"}).catch(() => 0));
  const image = new Image();
  done.push(new Promise((resolve) => (image.onerror = image.onload = resolve)));
  image.src = api + address;
}
navigator.sendBeacon(api + "leave");
done.push(new Promise((resolve) => {
  const socket = new WebSocket(api.replace("http", "ws") + "stream");
  socket.onopen = () => { document.title = "open"; };
  socket.onclose = resolve;
}));
const framed = document.body.appendChild(document.createElement("iframe"));
framed.src = gateway + "/shop/checkout";
done.push(new Promise((resolve) => framed.addEventListener("load", resolve)));
Promise.allSettled(done).then(() => { if (document.title === "Evil") document.title = "done"; });
</script>"""


@pytest.fixture
async def sale(gateways: Gateways) -> AsyncIterator[Sale]:
    async with a_sale(gateways) as made:
        yield made


async def test_a_page_of_another_site_changes_nothing(context: Context, sale: Sale) -> None:
    await Visitor(sale.gateway).lineup()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=EVIL, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    async with (
        listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url,
        context.tab(sale.checkout) as page,
    ):
        await page.until("document.getElementById('progress')?.hidden === false")
        own = f"{sale.gateway.base}/"

        async def place() -> tuple[str, int]:
            cookies = (await page.ask("Network.getCookies", urls=[own]))["cookies"]
            [cookie] = [each["value"] for each in cookies if each["name"] == "visitor"]
            asked = (
                "fetch('/api/v1/queue/status').then((answer) => answer.json()).then(({data}) => data.ticket)"
            )
            return cookie, int(await page.evaluate(asked))

        before = await place()
        # Another site, and not only another origin.
        other = url.replace("127.0.0.1", "localhost")
        async with context.tab(f"{other}/#{sale.gateway.base}") as evil:
            await evil.until("document.title === 'done'")
        assert await place() == before
        assert sale.shop.seen == []
