"""Chromium without a window, and a page in it to look at and to use."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

EVALUATE_SECONDS = 100.0
"""For one expression of a page, the checks of axe among them: they take seconds."""


def command(url: str, profile: Path) -> list[str]:
    """What starts Chromium with this page open, without anything it does on its own. Skips the test where it is not
    installed."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("chromium is not installed")
    return [
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
    ]


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    """Chromium with this page open, without anything it does on its own."""
    process = await asyncio.create_subprocess_exec(
        *command(url, profile),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(10):
            await process.wait()


class Navigated(Exception):
    """The page went elsewhere before it could answer."""


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
        if "navigated" in str(answer.get("error")):
            raise Navigated(answer)
        assert "error" not in answer, answer
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """What a JavaScript expression, or the promise it is, comes to."""
        # A page that stands still would otherwise end the test without a word of where.
        async with asyncio.timeout(EVALUATE_SECONDS):
            result = await self.ask(
                "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
            )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = 30.0) -> Any:
        """Waits for an expression to be true; its value then."""
        try:
            async with asyncio.timeout(seconds):
                while not (value := await self._value_unless_it_navigates(expression)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {expression}\n{self.complaints}\n{text}") from None
        return value

    async def _value_unless_it_navigates(self, expression: str) -> Any:
        with contextlib.suppress(Navigated):
            return await self.evaluate(expression)
        return None

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

    async def tabs(self) -> list[dict[str, str]]:
        """All tabs of the browser: ``url`` and ``title`` of each."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._devtools}/json/list") as response,
        ):
            return [each for each in await response.json(content_type=None) if each["type"] == "page"]

    @asynccontextmanager
    async def opened(self, url: str, kind: str = "page") -> AsyncIterator[Page]:
        """The tab with this address, which the page has opened itself; or its frame of another site."""
        async with aiohttp.ClientSession() as session:
            found = None
            async with asyncio.timeout(30):
                while found is None:
                    async with session.get(f"{self._devtools}/json/list") as response:
                        targets = await response.json(content_type=None)
                    found = next(
                        (each for each in targets if (each["type"], each["url"]) == (kind, url)), None
                    )
                    await asyncio.sleep(0.05)
            async with _attached(session, found["webSocketDebuggerUrl"], self._devtools) as page:
                yield page

    def framed(self, url: str) -> AbstractAsyncContextManager[Page]:
        """The frame of another site with this address."""
        return self.opened(url, "iframe")

    async def go(self, url: str) -> None:
        """Opens an address, and waits until the page is there."""
        await self._loading("Page.navigate", url=url)

    async def front(self) -> None:
        """Brings the tab to the front: it is visible then, and the others of its window are hidden."""
        await self.ask("Page.bringToFront")

    async def reload(self) -> None:
        """Loads the page anew, as a user does, and waits until it is there."""
        await self._loading("Page.reload")

    async def _loading(self, method: str, **parameters: Any) -> None:
        self._loaded.clear()
        await self.ask(method, **parameters)
        async with asyncio.timeout(30):
            await self._loaded.wait()

    async def picture(self, file: Path, *, whole: bool = False) -> None:
        """Keeps what is to be seen as a PNG; ``whole``: the page to its end, in a large file that is soon written."""
        beyond: dict[str, Any] = {}
        if whole:
            size = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
            beyond = {"clip": {**size, "scale": 1}, "captureBeyondViewport": True, "optimizeForSpeed": True}
        shot = await self.ask("Page.captureScreenshot", format="png", **beyond)
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


@dataclass
class Context:
    """A browser of its own as far as cookies, storage and tabs go, within a Chromium that tests share."""

    devtools: str
    id: str
    session: aiohttp.ClientSession
    control: Page

    @asynccontextmanager
    async def tab(self, url: str = "about:blank", *, scripts: bool = True) -> AsyncIterator[Page]:
        """A tab, in front of the others, with this address; closed at the end."""
        made = await self.control.ask("Target.createTarget", url="about:blank", browserContextId=self.id)
        address = f"{self.devtools.replace('http', 'ws', 1)}/devtools/page/{made['targetId']}"
        async with _attached(self.session, address, self.devtools) as opened:
            if not scripts:
                await opened.ask("Emulation.setScriptExecutionDisabled", value=True)
            if url != "about:blank":
                await opened.go(url)
            yield opened
            await self.control.ask("Target.closeTarget", targetId=made["targetId"])


@asynccontextmanager
async def new_context(devtools: str) -> AsyncIterator[Context]:
    """A new context of the Chromium that listens there."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{devtools}/json/version") as response:
            address = (await response.json(content_type=None))["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=64 * 1024 * 1024) as socket:
            control = Page(socket, devtools)
            listener = asyncio.create_task(control.listen())
            try:
                made = await control.ask("Target.createBrowserContext")
                yield Context(devtools, made["browserContextId"], session, control)
                await control.ask("Target.disposeBrowserContext", browserContextId=made["browserContextId"])
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)


@contextmanager
def shared_chromium(profile: Path) -> Iterator[str]:
    """A Chromium for many tests: where its own protocol is to be had."""
    with subprocess.Popen(
        command("about:blank", profile), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            port_file = profile / "DevToolsActivePort"
            limit = time.monotonic() + 30
            while not (port_file.exists() and "\n" in port_file.read_text()):
                assert time.monotonic() < limit, "Chromium did not start within 30 s"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port_file.read_text().split()[0]}"
        finally:
            process.terminate()
            process.wait(10)
