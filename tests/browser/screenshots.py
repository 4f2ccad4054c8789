"""``make screenshots``: writes the pictures of README.md and of the docs into docs/assets/. Takes about a minute,
most of them for a sale that the desk can show."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from tests.browser.chromium import new_context, shared_chromium
from tests.browser.desk import desk, number, sale, sign_in
from tests.browser.desk import look as look_at_desk
from tests.browser.previews import look, previews, show

FOLDER: Final = Path(__file__).parents[2] / "docs" / "assets"
PICTURES: Final = {
    "waiting-page.png": ("en/waiting", 760, 760, "light"),
    "waiting-page-phone.png": ("ar/waiting", 360, 760, "dark"),
}
"""File → language and state, width and height of the window, colours."""


DESK_PICTURES: Final = {"desk.png": (1280, 900, False), "desk-phone.png": (360, 760, True)}
"""File → width and height of the window, and whether it is dark."""
SALE_SECONDS: Final = 45
"""How long the sale runs before the desk is shown."""


async def take(folder: Path) -> None:
    """Writes all pictures."""
    # Chromium's last processes may still write into their folder while it is removed.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        shared_chromium(Path(profile, "profile")) as devtools,
    ):
        async with new_context(devtools) as context, previews() as base, context.tab() as page:
            for name, (address, width, height, scheme) in PICTURES.items():
                await look(page, width, height, scheme)
                await show(page, f"{base}/{address}", everything=False)
                await page.picture(folder / name)


async def take_desk(folder: Path, seconds: float) -> None:
    """Writes the pictures of the desk, of a sale that has run for so many seconds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        files = Path(place)
        async with sale(files, 20) as deployment, desk(deployment, files / "profile") as opened:
            await sign_in(opened, deployment.operator_token)
            await opened.until(f"{number('inLine')} > 0")
            await asyncio.sleep(seconds)
            for name, (width, height, dark) in DESK_PICTURES.items():
                await look_at_desk(opened, width, dark=dark, height=height)
                await opened.picture(folder / name)


if __name__ == "__main__":
    asyncio.run(take(FOLDER))
    asyncio.run(take_desk(FOLDER, SALE_SECONDS))
