"""Previews of the waiting page in every state, as browsers with scripts show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from gateway.pages.waiting_page.page import WaitingPage
from gateway.pages.waiting_page.states import PageState
from gateway.pages.waiting_page.theme import Theme
from tests.browser.chromium import Page
from tests.support.listening import listening

STATES: Final = (*(state.value for state in PageState), "refused")
"""What can be shown. ``refused`` answers a refused POST."""

# All that the script shows in some state, so that it is looked at too.
_FILL = """(() => {
  const queue = document.getElementById("queue");
  queue.classList.add("js");
  for (const each of queue.querySelectorAll("[hidden]")) each.hidden = !%s && !each.matches("progress");
  const fill = (name, text) => {
    for (const each of queue.querySelectorAll(`[data-fill=${name}]`)) each.textContent ||= text;
  };
  fill("notice", "Doors open at nine. 9시에 시작합니다.");
  fill("reason", "People who were away for a moment have come back to their places.");
  fill("lane", "Gold");
  fill("countdown", "3 days 11:05:09");
  fill("turn-left", "87 seconds left");
  queue.querySelector("#progress").value = 0.4;
})()"""


@asynccontextmanager
async def previews() -> AsyncIterator[str]:
    """A server of previews at ``/{language}/{state}``."""
    page = WaitingPage(Theme(title="Winter sale"))

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["state"]
        refused = name == "refused"
        state = PageState.WAITING if refused else PageState(name)
        body, policy = page.preview(state, request.match_info["language"], refused=refused)
        headers = {"Content-Security-Policy": policy}
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    app = web.Application()
    app.router.add_get("/{language}/{state}", answer)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url:
        yield url


async def show(page: Page, address: str, *, everything: bool = True) -> None:
    """Opens a preview, and shows what the script would show; ``everything``: also a notice and the like."""
    await page.go(address)
    await page.evaluate(_FILL % str(everything).lower())


async def look(page: Page, width: int, height: int, scheme: str) -> None:
    """Gives the page a window of this size (below 600: a phone's) and light or dark colours."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    await page.ask("Emulation.setDeviceMetricsOverride", **size)
    await page.ask("Emulation.setScrollbarsHidden", hidden=True)
    # Colours that change bit by bit have too little contrast meanwhile.
    media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": feature, "value": value} for feature, value in media.items()]
    await page.ask("Emulation.setEmulatedMedia", features=features)
