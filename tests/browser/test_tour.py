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

pytestmark = [pytest.mark.redis, pytest.mark.timeout(150)]

TUTORIAL = (Path(__file__).parents[2] / "docs/tutorials/first-waiting-room.md").read_text(encoding="utf-8")
SERVICE = "http://127.0.0.1:8101"
PLACE = "document.body?.innerText.trim().split('\\n')[0]"


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
    """What the page complains of, but for the 404 that a first status is, and an icon that no one gave it."""
    known = ("/api/v1/queue/status", "/favicon.ico")
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

    def page_of(self, name: str) -> str:
        return f"{self.base}/shop/wait.html#{self.tokens[name]}"


@contextlib.asynccontextmanager
async def web_server(folder: Path) -> AsyncIterator[str]:
    """``python -m http.server`` on a free port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"port (\d+)", line)
        assert found is not None, line
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        await process.wait()


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
    (folder / "public" / "wait.html").write_text(block("html"), encoding="utf-8")
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
    async with web_server(folder / "public") as service:
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
async def bob_before_carol(tour: Tour, profile: Path) -> AsyncIterator[Page]:
    """Alice has the slot, Bob's page is at place 1, and Carol is behind him."""
    async with page(tour.page_of("bob"), profile) as opened:
        await opened.until(f"{PLACE} === 'Place 1'")
        assert (await tour.queue("carol", "POST", "lineup"))[1]["data"]["userQueuePosition"] == 2
        yield opened


async def test_the_commands_of_the_tour_answer_what_it_says(tour: Tour) -> None:
    gated = "/shop/checkout.html"
    assert await tour.ask("alice", "GET", gated) == (200, "Pay here.\n")
    assert (await tour.queue("bob", "POST", "lineup"))[1]["data"]["userQueuePosition"] == 1
    status, refusal = await tour.ask("bob", "GET", gated)
    assert (status, refusal["error"]["code"]) == (429, "QUEUE_WAITING")
    assert (await tour.queue("alice", "POST", "leave"))[0] == 204
    status, refusal = await tour.ask("alice", "GET", gated)
    assert (status, refusal["error"]["code"]) == (403, "NOT_IN_QUEUE")
    assert await tour.ask("bob", "GET", gated) == (200, "Pay here.\n")


async def test_a_reload_keeps_the_place(tour: Tour, tmp_path: Path) -> None:
    async with bob_before_carol(tour, tmp_path / "profile") as bob:
        await bob.picture(tmp_path / "waiting.png")
        for _ in range(2):
            await bob.reload()
            await bob.until(f"{PLACE} === 'Place 1'")
        assert (await tour.queue("carol", "GET", "status"))[1]["data"]["userQueuePosition"] == 2
        assert unexpected(bob) == []


async def test_closing_a_second_stream_keeps_the_place(tour: Tour, tmp_path: Path) -> None:
    async with bob_before_carol(tour, tmp_path / "profile") as bob:
        async with bob.tab(tour.page_of("bob")) as second:
            await second.until(f"{PLACE} === 'Place 1'")
        await bob.reload()
        await bob.until(f"{PLACE} === 'Place 1'")
        assert (await tour.queue("carol", "GET", "status"))[1]["data"]["userQueuePosition"] == 2


async def test_an_admitted_user_sees_the_page_also_after_a_reload(tour: Tour, tmp_path: Path) -> None:
    async with bob_before_carol(tour, tmp_path / "profile") as bob:
        await tour.queue("alice", "POST", "leave")
        await bob.until(f"{PLACE} === 'Pay here.'")
        await bob.picture(tmp_path / "entered.png")
        await bob.reload()
        await bob.until(f"{PLACE} === 'Pay here.'")
        assert unexpected(bob) == []
        assert (await tour.queue("carol", "GET", "status"))[1]["data"]["userQueuePosition"] == 1


async def test_leaving_is_a_button(tour: Tour, tmp_path: Path) -> None:
    async with bob_before_carol(tour, tmp_path / "profile") as bob:
        await bob.click("#leave:not([hidden])")
        await bob.until(f"{PLACE} === 'You have left the line.'")
        async with asyncio.timeout(20):
            while (await tour.queue("carol", "GET", "status"))[1]["data"]["userQueuePosition"] != 1:
                await asyncio.sleep(0.05)
        await bob.picture(tmp_path / "left.png")
        assert (await tour.queue("bob", "GET", "status"))[0] == 404
        assert await bob.evaluate("document.getElementById('leave').hidden")


async def test_a_session_that_is_over_is_told(tour: Tour, tmp_path: Path) -> None:
    async with page(tour.page_of("bob"), tmp_path / "profile") as bob:
        await bob.until(f"{PLACE} === 'Place 1'")
        async with bob.tab(tour.page_of("bob")) as second:
            await second.until(f"{PLACE} === 'Place 1'")
            await second.click("#leave:not([hidden])")
            # The other tab hears of it, and does not line up again by itself. Closed at once, the second one might not
            # have said so.
            await bob.until(f"{PLACE} !== 'Place 1' && document.getElementById('leave').hidden")
        assert (await tour.queue("bob", "GET", "status"))[0] == 404
