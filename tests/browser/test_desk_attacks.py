"""What a page elsewhere can do about an operator who is signed in at the desk, in a real browser: nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from gateway.context import ROOMS
from tests.api.test_desk import ANNA, BOB, write_operators
from tests.browser.chromium import Context
from tests.support.gateway import Gateways
from tests.support.listening import listening

pytestmark = pytest.mark.timeout(120)

# Tries by forms, fetch, images, a frame and a stream, and says what it could read.
EVIL = """<!doctype html><title>Evil</title><body><script>
const {desk, token} = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const room = desk + "/desk/api/rooms/default", done = [], read = [];
const fields = {
  "": {}, "/pause": {}, "/sold-out": {}, "/empty": {}, "/notice": {text: "evil"}, "/front": {user: "u"},
};
for (const [act, body] of Object.entries(fields)) {
  const frame = document.createElement("iframe");
  frame.name = "frame" + done.length;
  document.body.append(frame);
  const form = document.body.appendChild(document.createElement("form"));
  Object.assign(form, {method: "post", action: room + act, target: frame.name, enctype: "text/plain"});
  const field = form.appendChild(document.createElement("input"));
  field.name = JSON.stringify({...body, capacity: 7, reason: ""}).slice(0, -2);
  field.value = '"}';
  done.push(new Promise((resolve) => frame.addEventListener("load", resolve, {once: true})));
  form.submit();
  const options = {method: "POST", mode: "no-cors", credentials: "include", body: JSON.stringify(body)};
  done.push(fetch(room + act, options).catch(() => 0));
  const headers = {"X-CSRF-Token": "0".repeat(64), "Content-Type": "application/json"};
  done.push(fetch(room + act, {...options, mode: "cors", headers}).then((each) => read.push(each.status), () => 0));
}
done.push(fetch(room + "/users?id=u", {method: "DELETE", credentials: "include"}).then(() => read.push("d"), () => 0));
// Reads: the session with its token for changes, and a user.
for (const path of ["/desk/session", "/desk/api/rooms/default", "/desk/api/rooms/default/users?id=u"]) {
  done.push(fetch(desk + path, {credentials: "include"}).then(async (each) => read.push(await each.text()), () => 0));
}
// Signs the browser in with a token of its own.
for (const [type, body] of [
  ["application/x-www-form-urlencoded", "token=" + token], ["text/plain", JSON.stringify({token})],
]) {
  const options = {method: "POST", mode: "no-cors", credentials: "include", headers: {"Content-Type": type}, body};
  done.push(fetch(desk + "/desk/session", options).catch(() => 0));
}
const framed = document.body.appendChild(document.createElement("iframe"));
framed.name = "framed";
framed.src = desk + "/desk";
done.push(new Promise((resolve) => framed.addEventListener("load", resolve)));
const source = new EventSource(room + "/events", {withCredentials: true});
source.addEventListener("room", (event) => read.push(event.data));
done.push(new Promise((resolve) => source.addEventListener("error", resolve)));
const frames = () => [...document.querySelectorAll("iframe")].map((each) => {
  try { return each.contentDocument === null ? "" : each.contentDocument.body.innerText; } catch { return ""; }
}).join("");
Promise.allSettled(done).then(() => { document.title = "read: " + JSON.stringify(read) + frames(); });
</script>"""


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1"], ids=["another site", "another port of the same host"]
)
async def test_a_page_elsewhere_changes_and_reads_nothing(
    context: Context, gateways: Gateways, tmp_path: Path, host: str
) -> None:
    """To another port of the same host, browsers send the cookie, as Strict as it is."""
    operators = tmp_path / "operators.yaml"
    write_operators(operators, ("anna", "act", ANNA), ("bob", "watch", BOB))
    gateway = await gateways.start(desk=True, operators_file=operators)
    await gateway.user("u").lineup()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=EVIL, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    session = "fetch('/desk/session').then((answer) => answer.json()).then(({data}) => data)"
    async with (
        listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url,
        context.tab(f"{gateway.base}/desk") as page,
    ):
        await page.until("document.querySelector('#sign-in') && !document.querySelector('#sign-in').hidden")
        await page.evaluate(f"document.querySelector('#token').value = {json.dumps(ANNA)}")
        await page.click("#sign-in-form button")
        await page.until("!document.querySelector('#desk').hidden")
        before = await page.evaluate(session)
        said = json.dumps({"desk": gateway.base, "token": BOB})
        async with context.tab(f"{url.replace('127.0.0.1', host)}/#{said}") as evil:
            assert await evil.until("document.title.startsWith('read') && document.title") == "read: []"
        after = await page.evaluate(session)
        assert (after["operator"], after["csrfToken"]) == ("anna", before["csrfToken"])
        # Nothing was changed, and the desk still works.
        assert (
            await page.evaluate(
                "fetch('/desk/api/rooms/default/audit').then((a) => a.json()).then((a) => a.data)"
            )
            == []
        )
        summary = await gateway.app[ROOMS]["default"].overview()
        assert (summary.allowed_in, summary.paused_by_operator) == (1, False)


LOOSE = """[...(function* () {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.data.includes("\\u202e")) yield walker.currentNode;
})()].map((node) => {
  const alone = node.parentElement.textContent === "\\u202eresu";
  const {unicodeBidi} = getComputedStyle(node.parentElement);
  return [alone && unicodeBidi === "isolate", node.parentElement.closest("#audit, #dialog, #found")?.id];
})"""
"""Each text with an override of its direction: whether it stands alone, and where."""


async def test_a_text_that_turns_its_direction_turns_nothing_beside_it(
    context: Context, gateways: Gateways, tmp_path: Path
) -> None:
    """Otherwise the user who is removed, or the act of an entry, could be read as another one."""
    operators = tmp_path / "operators.yaml"
    write_operators(operators, ("anna", "act", ANNA))
    gateway = await gateways.start(desk=True, operators_file=operators)
    user = "\u202eresu"
    assert (await gateway.user(user).lineup()).status == 200
    async with context.tab(f"{gateway.base}/desk") as page:
        await page.until("document.querySelector('#sign-in') && !document.querySelector('#sign-in').hidden")
        await page.evaluate(f"document.querySelector('#token').value = {json.dumps(ANNA)}")
        await page.click("#sign-in-form button")
        await page.until("document.querySelectorAll('.number').length >= 7")
        await page.click('#acts [data-act="notice"]')
        await page.until("document.querySelector('#dialog').open")
        for field in ("text", "reason"):
            await page.evaluate(f"document.querySelector('#field-{field}').value = {json.dumps(user)}")
        await page.click('#dialog [data-confirm="notice"]')
        await page.until("!document.querySelector('#dialog').open")
        await page.until("document.querySelector('#audit').textContent.includes('\\u202e')")
        await page.evaluate(f"document.querySelector('#find-id').value = {json.dumps(user)}")
        await page.evaluate("document.querySelector('#find-form').requestSubmit()")
        await page.until("document.querySelector('#found [data-act=remove]') !== null")
        await page.click('#found [data-act="remove"]')
        await page.until("document.querySelector('#dialog').open")
        seen = await page.evaluate(LOOSE)
        assert {where for _, where in seen} == {"audit", "dialog", "found"}
        assert all(alone for alone, _ in seen), seen
