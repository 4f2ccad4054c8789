"""The gateway itself, as a process of its own, started as anybody would start it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import aiohttp

START_SECONDS = 30.0
STOP_SECONDS = 15.0
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
# Of the surrounding environment only what a process needs to run at all: settings of another gateway
# that happen to be exported must not reach this one.
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHASHSEED",
    "VIRTUAL_ENV",
)


class GatewayDied(Exception):
    """The gateway's process ended by itself, or never got ready. The message holds the end of its log."""


def child_environment(settings: Mapping[str, str], around: Mapping[str, str]) -> dict[str, str]:
    """``settings`` on top of what is worth keeping of ``around``."""
    return {name: around[name] for name in KEPT if name in around} | dict(settings)


class Child:
    """A started gateway: ``base`` is its address ("" until it has said so), ``log`` the file it writes to."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.base = ""
        self.log = log
        self._process = process

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.returncode is None

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def died(self) -> NoReturn:
        """Wait for the process to end, and raise GatewayDied then."""
        status = await self._process.wait()
        raise GatewayDied(f"the gateway ended with status {status}; its last lines:\n{self.tail()}")

    def find_address(self) -> bool:
        """Look in the log for the address: the gateway chose a free port by itself."""
        said = LISTENING.search(self.log.read_text(errors="replace"))
        self.base = said[1] if said else ""
        return said is not None

    async def stop(self) -> int:
        """Ask it to end, and make it if it takes too long; its exit status."""
        if self.running:
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()


@asynccontextmanager
async def gateway_process(settings: Mapping[str, str], folder: Path) -> AsyncIterator[Child]:
    """``python -m gateway serve`` with ``settings``, its data and log in ``folder``; stopped on leaving.

    It has been started, not more: see :func:`ready`.
    """
    here = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "REDIS_URL": "embedded",
        "EMBEDDED_REDIS_DIR": str(folder / "redis"),
        "TMPDIR": str(folder),
    }
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "serve",
            env=child_environment(here | dict(settings), os.environ),
            # Not the caller's folder, whose routes.yaml may be about something else.
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in the terminal is for the demo, which then stops the gateway in its own time.
            start_new_session=True,
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        await child.stop()


async def ready(child: Child, token: str) -> None:
    """Wait until ``child`` can really work: giving up a place that isn't held takes routes, keys and Redis.

    Raises GatewayDied if its process ends first, or that takes longer than START_SECONDS.
    """
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=5)) as http:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        answer = "no answer"
        while asyncio.get_running_loop().time() < deadline:
            if not child.running:
                await child.died()
            try:
                if child.base or child.find_address():
                    async with http.post(f"{child.base}/api/v1/queue/leave") as response:
                        if response.status == 204:
                            return
                        answer = f"{response.status} {(await response.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                answer = str(error)
            await asyncio.sleep(0.05)
    raise GatewayDied(
        f"the gateway was not ready after {START_SECONDS:g} s ({answer}); its log:\n{child.tail()}"
    )
