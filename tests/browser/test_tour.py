"""The first tutorial in a real browser: its files as they stand there, its service, a gateway, its page."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.cli.main import main
from tests.browser.chromium import Page, page
from tests.support.gateway_process import gateway_process
from tests.support.web_server import web_server

pytestmark = [pytest.mark.redis, pytest.mark.timeout(150)]

TUTORIAL = (Path(__file__).parents[2] / "docs/tutorials/first-waiting-room.md").read_text(encoding="utf-8")
SERVICE = "http://127.0.0.1:8101"
GATED = "/shop/checkout.html"
PLACE = "document.querySelector('#queue[data-state=waiting] [data-fill=position]')?.textContent"
STATE = "document.getElementById('queue')?.dataset.state"
TEXT = "document.body?.innerText.trim()"


def block(language: str) -> str:
    """The first block of code in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def exports() -> dict[str, str]:
    """The environment that the tour sets."""
    lines = re.findall(r"^export (.*?)(?: +#.*)?$", TUTORIAL, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def unexpected(opened: Page) -> list[str]:
    """What the browser complains of, but for the statuses that a page of a waiting room has, and the checkout's missing
    icon."""
    known = (GATED, "/api/v1/queue/status?room=default", "/favicon.ico")
    return [each for each in opened.complaints if not each.endswith(known)]


class Tour:
    """What the reader has after the tour's commands."""

    def __init__(self, base: str, tokens: dict[str, str], session: aiohttp.ClientSession) -> None:
        self.base = base
        self.tokens = tokens
        self._session = session

    async def ask(self, name: str, method: str, path: str) -> tuple[int, Any]:
        """A call with that user's token; status and answer."""
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        async with self._session.request(method, self.base + path, headers=headers) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    async def queue(self, name: str, method: str, call: str) -> tuple[int, Any]:
        return await self.ask(name, method, f"/api/v1/queue/{call}")

    @property
    def page(self) -> str:
        """What the reader opens in a browser."""
        return self.base + GATED


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with the files that the reader writes, to be copied, and the tokens of the users."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "public").mkdir()
    (folder / "issue.py").write_text(block("python"), encoding="utf-8")
    tokens = {
        name: subprocess.check_output([sys.executable, "issue.py", name], cwd=folder, text=True, timeout=60)
        for name in ("alice", "bob", "carol")
    }
    checkout = re.search(r"^echo '(.*)' > (public/checkout.html)$", TUTORIAL, re.MULTILINE)
    assert checkout is not None
    (folder / checkout[2]).write_text(checkout[1] + "\n")
    return folder, tokens


@pytest.fixture
async def tour(
    written: tuple[Path, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Tour]:
    files, tokens = written
    folder = tmp_path / "shop"
    shutil.copytree(files, folder)
    options = ("-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", "public")
    async with web_server(*options, folder=folder) as port:
        service = f"http://127.0.0.1:{port}"
        (folder / "routes.yaml").write_text(block("yaml").replace(SERVICE, service))
        environ = {name: value.replace(SERVICE, service) for name, value in exports().items()}
        monkeypatch.chdir(folder)
        # Nothing of the tour is warned of.
        assert await asyncio.to_thread(main, ["check", "--strict"], environ) == 0, capsys.readouterr().out
        # A connection that is kept would hold up the gateway's end, so the session ends before it.
        async with gateway_process(environ, folder) as gateway, aiohttp.ClientSession() as session:
            made = Tour(gateway.base, {name: token.strip() for name, token in tokens.items()}, session)
            async with asyncio.timeout(30):
                while (await made.queue("alice", "POST", "lineup"))[0] != 200:  # no keys, or no Redis, yet
                    await asyncio.sleep(0.05)
            yield made


@contextlib.asynccontextmanager
async def browser_before_carol(tour: Tour, profile: Path) -> AsyncIterator[Page]:
    """Alice has the slot, a browser's page is at place 1, and Carol is behind."""
    async with page(tour.page, profile) as opened:
        await opened.until(f"{PLACE} === '1'")
        assert (await tour.queue("carol", "POST", "lineup"))[1]["data"]["userQueuePosition"] == 2
        yield opened


async def place_of(tour: Tour, name: str) -> int:
    return int((await tour.queue(name, "GET", "status"))[1]["data"]["userQueuePosition"])


async def test_the_commands_of_the_tour_answer_what_it_says(tour: Tour) -> None:
    assert await tour.ask("alice", "GET", GATED) == (200, "Pay here.\n")
    assert (await tour.queue("bob", "POST", "lineup"))[1]["data"]["userQueuePosition"] == 1
    status, refusal = await tour.ask("bob", "GET", GATED)
    assert (status, refusal["error"]["code"]) == (429, "QUEUE_WAITING")
    assert (await tour.queue("alice", "POST", "leave"))[0] == 204
    status, refusal = await tour.ask("alice", "GET", GATED)
    assert (status, refusal["error"]["code"]) == (403, "NOT_IN_QUEUE")
    assert await tour.ask("bob", "GET", GATED) == (200, "Pay here.\n")


async def test_a_reload_and_a_second_tab_keep_the_place(tour: Tour, tmp_path: Path) -> None:
    async with browser_before_carol(tour, tmp_path / "profile") as browser:
        await browser.picture(tmp_path / "waiting.png")
        for _ in range(2):
            await browser.reload()
            await browser.until(f"{PLACE} === '1'")
        async with browser.tab(tour.page) as second:
            await second.until(f"{PLACE} === '1'")
        await browser.reload()
        await browser.until(f"{PLACE} === '1'")
        assert await place_of(tour, "carol") == 2
        assert unexpected(browser) == []


async def test_the_person_gets_in_at_the_address_that_was_opened(tour: Tour, tmp_path: Path) -> None:
    async with browser_before_carol(tour, tmp_path / "profile") as browser:
        await tour.queue("alice", "POST", "leave")
        await browser.until(f"{TEXT} === 'Pay here.'")
        assert await browser.evaluate("location.href") == tour.page
        await browser.reload()
        await browser.until(f"{TEXT} === 'Pay here.'")
        assert unexpected(browser) == []
        assert await place_of(tour, "carol") == 1


async def test_leaving_is_a_button(tour: Tour, tmp_path: Path) -> None:
    async with browser_before_carol(tour, tmp_path / "profile") as browser:
        # As without a script: no question is asked.
        await browser.evaluate("document.getElementById('leave').submit()")
        await browser.until(f"{STATE} === 'left'")
        async with asyncio.timeout(20):
            while await place_of(tour, "carol") != 1:
                await asyncio.sleep(0.05)
        await browser.picture(tmp_path / "left.png")
