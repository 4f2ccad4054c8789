"""Chromium without a window, and a page in it to look at and to use."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    """Chromium with this page open, without anything it does on its own."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("chromium is not installed")
    process = await asyncio.create_subprocess_exec(
        executable,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(10):
            await process.wait()


class Page:
    """One page, driven over Chromium's own protocol. ``requested`` are the addresses it asked for, ``complaints`` what
    it wrote to its console as warnings or errors, refused scripts and styles among it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, devtools: str) -> None:
        self._socket = socket
        self._devtools = devtools
        self._loaded = asyncio.Event()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.closed = asyncio.Event()
        self.requested: list[str] = []
        self.complaints: list[str] = []

    async def listen(self) -> None:
        """Takes what Chromium tells, until the socket closes."""
        async for message in self._socket:  # it ends with the page
            told = message.json()
            if told.get("id") in self._waiting:
                self._waiting.pop(told["id"]).set_result(told)
            elif told.get("method") == "Page.loadEventFired":
                self._loaded.set()
            elif told.get("method") == "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])
            elif told.get("method") == "Log.entryAdded":
                entry = told["params"]["entry"]
                if entry["level"] in ("warning", "error"):
                    self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            elif told.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))
        self.closed.set()

    async def ask(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the protocol; its result."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await self._waiting[number]
        assert "error" not in answer, answer
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """What a JavaScript expression, or the promise it is, comes to."""
        result = await self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = 30.0) -> Any:
        """Waits for an expression to be true; its value then."""
        try:
            async with asyncio.timeout(seconds):
                while not (value := await self.evaluate(expression)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {expression}\n{self.complaints}\n{text}") from None
        return value

    async def click(self, selector: str) -> None:
        """Clicks what a CSS selector finds, once it is there."""
        await self.until(f"(found => found && (found.click(), true))(document.querySelector('{selector}'))")

    @asynccontextmanager
    async def tab(self, url: str) -> AsyncIterator[Page]:
        """A second tab of the same browser, closed at the end as a user closes it."""
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{self._devtools}/json/new?about:blank") as response:
                target = await response.json()
            async with _attached(session, target["webSocketDebuggerUrl"], self._devtools) as opened:
                await opened.go(url)
                yield opened
                async with session.get(f"{self._devtools}/json/close/{target['id']}") as response:
                    assert response.status == 200
                async with asyncio.timeout(30):
                    await opened.closed.wait()

    async def go(self, url: str) -> None:
        """Opens an address, and waits until the page is there."""
        await self._loading("Page.navigate", url=url)

    async def reload(self) -> None:
        """Loads the page anew, as a user does, and waits until it is there."""
        await self._loading("Page.reload")

    async def _loading(self, method: str, **parameters: Any) -> None:
        self._loaded.clear()
        await self.ask(method, **parameters)
        async with asyncio.timeout(30):
            await self._loaded.wait()

    async def picture(self, file: Path) -> None:
        """Keeps what is to be seen as a PNG."""
        shot = await self.ask("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def page(url: str, profile: Path) -> AsyncIterator[Page]:
    """A page at ``url``, watched from its first request on."""
    async with browser("about:blank", profile), aiohttp.ClientSession() as session:
        port_file = profile / "DevToolsActivePort"
        async with asyncio.timeout(30):
            while not (port_file.exists() and "\n" in port_file.read_text()):
                await asyncio.sleep(0.05)
            port = port_file.read_text().split()[0]
            targets: list[str] = []
            while not targets:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    found = await response.json()
                targets = [each["webSocketDebuggerUrl"] for each in found if each["type"] == "page"]
        async with _attached(session, targets[0], f"http://127.0.0.1:{port}") as opened:
            await opened.go(url)
            yield opened


@asynccontextmanager
async def _attached(session: aiohttp.ClientSession, target: str, devtools: str) -> AsyncIterator[Page]:
    """The page at this address of Chromium's own protocol, listened to."""
    async with session.ws_connect(target, max_msg_size=64 * 1024 * 1024) as socket:
        opened = Page(socket, devtools)
        listener = asyncio.create_task(opened.listen())
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                await opened.ask(f"{domain}.enable")
            yield opened
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
