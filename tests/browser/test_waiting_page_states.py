"""Every state of the waiting page as people see it: narrow and wide, light and dark, from left to right and from right
to left. Each is kept as a picture below the test's folder, and axe finds nothing wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.pages.waiting_page.texts import LANGUAGES
from tests.browser.axe import axe_of, faults, lost_in, zoom
from tests.browser.chromium import Context
from tests.browser.previews import STATES, look, previews, show
from tests.browser.screenshots import DESK_PICTURES, FOLDER, PICTURES, take, take_desk
from tests.client.conftest import installed_client  # noqa: F401 - a fixture

pytestmark = pytest.mark.timeout(240)

WIDTHS = (360, 1440)
SCHEMES = ("light", "dark")
LOOKED_AT_BY_AXE = ((360, "light"), (1440, "dark"))
"""In languages other than the first. These are all sizes and all colours, and no size has colours of its own."""
MOST_BYTES = 150_000


@pytest.mark.parametrize("language", ["en", "ar", "ko"])
async def test_every_state_can_be_used_by_everyone(
    context: Context,
    language: str,
    installed_client: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    axe = axe_of(installed_client)
    wrong = {}
    async with previews() as base, context.tab() as page:
        for name in STATES:
            await show(page, f"{base}/{language}/{name}")
            for width, scheme in ((width, scheme) for width in WIDTHS for scheme in SCHEMES):
                await look(page, width, 900, scheme)
                found = await lost_in(page)
                if (width, scheme) in LOOKED_AT_BY_AXE or language == "en":
                    found += await faults(page, axe)
                if found:
                    wrong[f"{name} {width} {scheme}"] = found
                await page.picture(tmp_path / f"{name}-{width}-{scheme}-{language}.png", whole=True)
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_nothing_is_lost_at_200_percent_and_more(
    context: Context, language: str, tmp_path: Path
) -> None:
    """WCAG 1.4.4 asks for text of twice the size, 1.4.10 for a window of 1280 pixels at 400 %."""
    wrong = {}
    async with previews() as base, context.tab() as page:
        for name in STATES:
            await show(page, f"{base}/{language}/{name}")
            for width, percent in ((1280, 200), (1280, 400), (640, 200)):
                await zoom(page, width, percent)
                if found := await lost_in(page):
                    wrong[f"{name} {width} at {percent} %"] = found
            await zoom(page, 1280, 100)
            await page.evaluate("document.documentElement.style.fontSize = '200%'")
            if found := await lost_in(page):
                wrong[f"{name} with larger text"] = found
        await show(page, f"{base}/{language}/waiting")
        await zoom(page, 1280, 200)
        await page.picture(tmp_path / f"waiting-200-percent-{language}.png")
    assert wrong == {}


async def test_axe_and_the_measure_see_what_is_wrong(
    context: Context,
    installed_client: Path,  # noqa: F811
) -> None:
    axe = axe_of(installed_client)
    async with previews() as base, context.tab() as page:
        await show(page, f"{base}/en/waiting")
        await look(page, 360, 900, "light")
        await page.evaluate("document.querySelector('h1').style.color = '#ddd'")
        small = "width:9px;height:9px;min-height:0;padding:0;border:0;margin:0"
        await page.evaluate(
            f"document.querySelectorAll('#notify, #sound').forEach((each) => {{ each.style.cssText = '{small}' }})"
        )
        await page.evaluate("document.querySelector('.q-actions').style.gap = 0")
        await page.evaluate("document.querySelector('#notify').parentElement.style.gap = 0")
        assert [each.partition(":")[0] for each in await faults(page, axe)] == [
            "color-contrast",
            "target-size",
        ]
        assert await lost_in(page) == []
        await page.evaluate("document.querySelector('h1').style.whiteSpace = 'nowrap'")
        await page.evaluate("document.querySelector('h1').textContent = 'long '.repeat(20)")
        assert await lost_in(page) != []


async def test_the_pictures_of_the_readme_can_be_made(tmp_path: Path) -> None:
    await take(tmp_path)
    await take_desk(tmp_path, 1.0)
    for name in (*PICTURES, *DESK_PICTURES):
        for file in (tmp_path / name, FOLDER / name):
            assert file.read_bytes().startswith(b"\x89PNG")
            assert file.stat().st_size < MOST_BYTES
