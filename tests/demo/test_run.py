"""The whole demo, as a stranger would start it: every process and every request is real."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

pytestmark = pytest.mark.timeout(150)

READ_PATIENCE = 60.0


class Demo:
    """A running demo; what it has said so far is in ``said``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def says(self, pattern: str) -> re.Match[str]:
        """Read on until it has said something like ``pattern``."""
        async with asyncio.timeout(READ_PATIENCE):
            while (found := re.search(pattern, self.said, re.MULTILINE)) is None:
                assert self.process.stdout is not None
                chunk = await self.process.stdout.read(65536)
                assert chunk, f"never said {pattern!r}, but:\n{self.said}"
                self.said += chunk.decode()
        return found

    async def ends(self) -> int:
        """Read to the end; the exit status."""
        assert self.process.stdout is not None
        self.said += (await self.process.stdout.read()).decode()
        return await self.process.wait()


Start = Callable[..., AbstractAsyncContextManager[Demo]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts demos whose temporary files would be found in ``tmp_path``, and ends what is left of them."""

    @asynccontextmanager
    async def starting(*arguments: str) -> AsyncIterator[Demo]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "demo",
            *arguments,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield Demo(process)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    return starting


async def refuses_connections(url: str) -> bool:
    async with aiohttp.ClientSession() as http:
        try:
            async with http.get(url):
                return False
        except aiohttp.ClientConnectionError:
            return True


async def test_a_small_crowd_goes_through_without_a_broken_rule(start: Start, tmp_path: Path) -> None:
    async with start("--people", "30", "--capacity", "5", "--seconds", "12", "--seed", "7") as demo:
        status = await demo.ends()
    assert status == 0, demo.said
    assert "0 broken; nobody was lost." in demo.said
    assert "seed 7" in demo.said
    assert "30  people came" in demo.said
    assert list(tmp_path.iterdir()) == []


async def test_closing_early_ends_all_visits_and_stops_everything(start: Start, tmp_path: Path) -> None:
    async with start("--people", "40", "--capacity", "4", "--seconds", "60", "--seed", "7") as demo:
        base = (await demo.says(r"listens at (http://127\.0\.0\.1:\d+)"))[1]
        await demo.says(r"waiting [1-9]")
        demo.process.send_signal(signal.SIGINT)
        status = await demo.ends()
    assert status == 0, demo.said
    assert "still waiting at close" in demo.said
    assert await refuses_connections(base)
    assert list(tmp_path.iterdir()) == []


async def test_one_can_play_by_hand(start: Start, tmp_path: Path) -> None:
    async with start("--no-crowd", "--capacity", "1") as demo:
        base = (await demo.says(r"listens at (http://127\.0\.0\.1:\d+)"))[1]
        token = (await demo.says(r'^AUTH="Authorization: Bearer (\S+)"$'))[1]
        friend = (await demo.says(r'^FRIEND="Authorization: Bearer (\S+)"$'))[1]
        await demo.says(r"until Ctrl-C")
        async with (
            aiohttp.ClientSession() as http,
            http.get((await demo.says(r"how it is: (\S+)\)"))[1]) as health,
        ):
            assert (await health.json())["status"] == "UP"
        async with player(base, token) as you, player(base, friend) as they:
            assert await you("POST", "/api/v1/queue/lineup") == (200, "ALLOWED_IN")
            assert await they("POST", "/api/v1/queue/lineup") == (200, "WAITING")
            assert await they("POST", "/api/v1/reservation-seats/7") == (429, "WAITING")
            assert await you("POST", "/api/v1/reservation-seats/7") == (200, "")
            assert await you("DELETE", "/api/v1/queue/allowed-in-token") == (200, "")
            assert await they("GET", "/api/v1/queue/status") == (200, "ALLOWED_IN")
            assert await they("POST", "/api/v1/reservation-seats/7") == (409, "")
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ends() == 0, demo.said
    assert await refuses_connections(base)
    assert list(tmp_path.iterdir()) == []


async def test_one_can_wait_in_line_in_a_browser(start: Start) -> None:
    async with start("--no-crowd", "--capacity", "1") as demo:
        page = (await demo.says(r"Wait in line +(http\S+/box-office)"))[1]
        await demo.says(r"until Ctrl-C")
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

        def browser() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True))

        async with browser() as first, browser() as second:
            said = []
            for each in (first, second):
                # The first answer gives the cookie.
                for _ in range(2):
                    async with each.get(page) as response:
                        text = await response.text()
                said.append((response.status, "You are in." in text, 'data-state="waiting"' in text))
        assert said == [(200, True, False), (503, False, True)]


async def test_its_three_links_stay_up_and_lead_to_page_desk_and_swagger(
    start: Start, tmp_path: Path
) -> None:
    async with start("--people", "8", "--capacity", "4", "--seconds", "4", "--stay") as demo:
        desk, token = (await demo.says(r"(http\S+/desk) +\(sign in with (\S+)\)")).groups()
        page = (await demo.says(r"Wait in line +(http\S+/box-office)"))[1]
        swagger = (await demo.says(r"Read and try API +(http\S+)"))[1]
        await demo.says(r"stays up until Ctrl-C")
        async with aiohttp.ClientSession(headers={"Accept": "text/html"}) as http:
            for link in (page, desk, swagger):
                async with http.get(link) as response:
                    # A first visit to the box office brings the cookie, and a page that asks again.
                    assert (response.status, response.content_type) == (
                        401 if link == page else 200,
                        "text/html",
                    )
        # The desk has no name, so its cookie is one of an address.
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            async with http.post(f"{desk}/session", json={"token": token}) as response:
                assert (await response.json())["data"]["operator"] == "management"
            async with http.get(f"{desk}/api/rooms/default/report") as response:
                assert sum(each["arrivals"] for each in (await response.json())["data"]) > 0
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ends() == 0, demo.said
    assert list(tmp_path.iterdir()) == []


async def test_a_second_interrupt_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    async with start("--people", "40", "--capacity", "4", "--seconds", "60") as demo:
        await demo.says(r"Starting")
        demo.process.send_signal(signal.SIGTERM)
        demo.process.send_signal(signal.SIGTERM)
        assert await demo.ends() == 130, demo.said
    assert "Traceback" not in demo.said
    assert list(tmp_path.iterdir()) == []


@asynccontextmanager
async def player(base: str, token: str) -> AsyncIterator[Callable[[str, str], Awaitable[tuple[int, str]]]]:
    """Somebody with curl: calls, and says the status and the state answered."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def call(method: str, path: str) -> tuple[int, str]:
            async with http.request(method, base + path) as response:
                return response.status, (await response.json()).get("state", "")

        yield call
