"""axe-core in a page: what it finds by the rules of WCAG 2.2 AA and its best practices. And whether a page fits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.browser.chromium import Page

TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""axe's tags of the rules that run. ``target-size``, the rule of WCAG 2.2, runs only where its tag is named."""

_RUN: Final = """axe.run(document, {runOnly: {type: "tag", values: %s}}).then((
  {violations, incomplete, passes, inapplicable}
) => ({
  ran: [...violations, ...incomplete, ...passes, ...inapplicable].map(({id}) => id),
  found: violations.map(({id, nodes}) => id + ": " + nodes.map((node) => node.html.slice(0, 200)).join(" | ")),
}))"""

# What cannot be read or reached: it is beyond the window's edge, or cut off by its own.
_LOST: Final = """(() => {
  const lost = [];
  // Not innerWidth: on a phone that grows with the page.
  const {clientWidth: width, scrollWidth} = document.documentElement;
  const shows = (element) => [...element.childNodes].some(({nodeType, data}) => nodeType === 3 && data.trim());
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest(".q-unseen, .unseen, .skip, .scroll, svg, option")) continue;
    if (!shows(element) && !element.matches("button, input, select, img, meter, progress")) continue;
    const {left, right} = element.getBoundingClientRect();
    const cut = getComputedStyle(element).overflowX !== "visible" && element.scrollWidth > element.clientWidth + 1;
    if (left < -1 || right > width + 1 || (cut && !element.matches("select, input"))) {
      lost.push(element.outerHTML.slice(0, 120));
    }
  }
  if (scrollWidth > width) lost.push(`scrolls to ${scrollWidth}`);
  return lost;
})()"""


def axe_of(installed_client: Path) -> str:
    """The source of the axe-core that the client's development has."""
    return (installed_client / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


async def faults(page: Page, axe: str) -> list[str]:
    """What axe finds in the page as it is now."""
    # By the protocol and not by a script element, which the page's policy forbids.
    await page.ask("Runtime.evaluate", expression=f"globalThis.axe ?? (() => {{ {axe} }})()")
    result = await page.evaluate(_RUN % list(TAGS))
    assert {"target-size", "color-contrast"} <= {*result["ran"]}, "axe did not run the rules of WCAG 2.2"
    return list(result["found"])


async def lost_in(page: Page) -> list[str]:
    """What of the page cannot be seen without scrolling sideways, or at all."""
    return list(await page.evaluate(_LOST))


async def zoom(page: Page, width: int, percent: int) -> None:
    """Shows the page in a window of this width as the browser's zoom does: fewer pixels of CSS, each larger."""
    scale = percent / 100
    size = {
        "width": round(width / scale),
        "height": round(900 / scale),
        "deviceScaleFactor": scale,
        "mobile": False,
    }
    await page.ask("Emulation.setDeviceMetricsOverride", **size)
