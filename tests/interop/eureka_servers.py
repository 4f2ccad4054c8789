"""Real Eureka servers as processes of their own, and what services say to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

PEERS = Path(
    os.environ.get("GATEWAY_TEST_PEERS") or Path(__file__).parents[2].parent / "shared" / "peers" / "peers"
)
START_SECONDS = 120.0
"""A cold machine builds the server first."""


def missing() -> str | None:
    """Why no Eureka server can be started here; None if one can."""
    if not PEERS.is_file():
        return "no program that starts real Eureka servers (GATEWAY_TEST_PEERS)"
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        return "no java"
    return None if shutil.which("mvn") else "no mvn"


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: two servers that replicate must know each other's before they start."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class EurekaServer:
    """A running server. ``url`` ends in ``/eureka/`` and holds the credentials, if there are any."""

    url: str
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession

    async def kill(self) -> None:
        """Ends it without a word to anybody."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    async def call(self, method: str, path: str, content: Any = None) -> int:
        """One call as a service makes it; the status."""
        async with self.session.request(
            method, self.url + path, json=content, headers={"Accept": "application/json"}
        ) as response:
            await response.read()
            return response.status

    async def instance(self, app: str) -> dict[str, Any] | None:
        """The only instance of an application, never from a cache; None if there is none."""
        async with self.session.get(self.url + "apps", headers={"Accept": "application/json"}) as response:
            content = await response.json()
        for application in content["applications"]["application"]:
            if application["name"] == app.upper():
                (found,) = application["instance"]
                return dict(found)
        return None

    async def until(self, app: str, **facts: str) -> dict[str, Any]:
        """Waits until the only instance of ``app`` is as said."""
        async with asyncio.timeout(30):
            while True:
                found = await self.instance(app)
                if found is not None and facts.items() <= found.items():
                    return found
                await asyncio.sleep(0.1)

    async def until_gone(self, app: str) -> None:
        """Waits until there is no instance of ``app``."""
        async with asyncio.timeout(30):
            while await self.instance(app) is not None:
                await asyncio.sleep(0.1)

    async def register(self, name: str, url: str, *, seconds: int = 600, **changes: Any) -> str:
        """Registers the service at ``url`` for so long, without heartbeats to come. Returns its id."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        entry: Mapping[str, Any] = {
            "instanceId": f"{name}:{port}",
            "app": name.upper(),
            "hostName": host,
            "ipAddr": host,
            "status": "UP",
            "vipAddress": name,
            "port": {"$": int(port), "@enabled": "true"},
            "securePort": {"$": 443, "@enabled": "false"},
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                "name": "MyOwn",
            },
            "leaseInfo": {"renewalIntervalInSecs": seconds // 3, "durationInSecs": seconds},
            **changes,
        }
        assert await self.call("POST", f"apps/{name.upper()}", {"instance": entry}) == 204
        return str(entry["instanceId"])


@asynccontextmanager
async def eureka_server(*options: str, port: int = 0, credentials: str = "") -> AsyncIterator[EurekaServer]:
    """One real server; ``credentials`` are ``user:password``."""
    if credentials:
        user, _, password = credentials.partition(":")
        options = (*options, "--user", user, "--password", password)
    process = await asyncio.create_subprocess_exec(
        PEERS,
        "eureka",
        "--port",
        str(port),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("ready "), "the server did not start"
        place = line.split()[1].removeprefix("http://")
        url = f"http://{credentials}{'@' if credentials else ''}{place}/eureka/"
        async with aiohttp.ClientSession() as session:
            yield EurekaServer(url, process, session)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[EurekaServer, EurekaServer]]:
    """Two servers that tell each other everything, started at the same time."""
    ports = free_ports(2)
    async with contextlib.AsyncExitStack() as stack:
        starting = [
            asyncio.create_task(
                stack.enter_async_context(
                    eureka_server("--peer", f"http://127.0.0.1:{ports[1 - index]}", port=ports[index])
                )
            )
            for index in (0, 1)
        ]
        first, second = await asyncio.gather(*starting)
        yield first, second
