"""Real Eureka servers as processes of their own, and what services say to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp

from tests.interop import peers

START_SECONDS = 120.0
"""A cold machine builds the server first."""


def missing() -> str:
    """Why no Eureka server can be started here, or nothing."""
    return peers.missing(programs=("mvn",))


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: two servers that replicate must know each other's before they start."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class EurekaServer:
    """A real server. ``url`` ends in ``/eureka/`` and holds the credentials (``user:password``), if there are any."""

    def __init__(self, *options: str, port: int = 0, credentials: str = "") -> None:
        self._credentials = credentials
        self.url = ""
        if credentials:
            user, _, password = credentials.partition(":")
            options = (*options, "--user", user, "--password", password)
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            [peers.COMMAND, "eureka", "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Until it answers."""
        assert self._process.stdout is not None
        too_late = threading.Timer(START_SECONDS, self.kill)
        too_late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            too_late.cancel()
        if not line.startswith("ready "):
            self._said.seek(0)
            raise AssertionError(f"no Eureka server: {self._said.read()[-2000:]}")
        place = line.split()[1].removeprefix("http://")
        self.url = f"http://{self._credentials}{'@' if self._credentials else ''}{place}/eureka/"

    def kill(self) -> None:
        """Ends it without a word to anybody."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Ends it, and frees what was used for it."""
        self.kill()
        self._said.close()
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def call(self, method: str, path: str, content: Any = None) -> int:
        """One call as a service makes it; the status."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, json=content) as response,
        ):
            return response.status

    async def instances(self) -> list[dict[str, Any]]:
        """Everybody, as told to a client; the server may say what was true a second ago."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + "apps", headers={"Accept": "application/json"}) as response,
        ):
            content = await response.json()
        return [each for app in content["applications"]["application"] for each in app["instance"]]

    async def instance(self, app: str) -> dict[str, Any] | None:
        """The only instance of an application; None if there is none."""
        found = [each for each in await self.instances() if each["app"] == app.upper()]
        assert len(found) < 2
        return found[0] if found else None

    async def until(self, app: str, **facts: str) -> dict[str, Any]:
        """Waits until the only instance of ``app`` is as said."""
        async with asyncio.timeout(60):
            while True:
                found = await self.instance(app)
                if found is not None and facts.items() <= found.items():
                    return found
                await asyncio.sleep(0.1)

    async def until_gone(self, app: str) -> None:
        """Waits until there is no instance of ``app``."""
        async with asyncio.timeout(60):
            while await self.instance(app) is not None:
                await asyncio.sleep(0.1)

    async def register(self, name: str, url: str, **metadata: str) -> str:
        """Registers the service at ``url`` for ten minutes, without heartbeats to come. Returns its id."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        entry = {
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
            "leaseInfo": {"renewalIntervalInSecs": 200, "durationInSecs": 600},
            "metadata": metadata,
        }
        assert await self.call("POST", f"apps/{name.upper()}", {"instance": entry}) == 204
        return str(entry["instanceId"])

    async def forget_everybody(self) -> None:
        """Deregisters all there are."""
        async with asyncio.timeout(60):
            while found := await self.instances():
                for each in found:
                    await self.call("DELETE", f"apps/{each['app']}/{each['instanceId']}")
                await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def eureka_server(port: int = 0, credentials: str = "") -> AsyncIterator[EurekaServer]:
    """One server, answering. While it starts, the test goes on."""
    with contextlib.closing(EurekaServer(port=port, credentials=credentials)) as server:
        await asyncio.to_thread(server.wait)
        yield server


@contextlib.contextmanager
def two_servers() -> Iterator[tuple[EurekaServer, EurekaServer]]:
    """Two servers that tell each other everything, started at the same time."""
    ports = free_ports(2)
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(
                contextlib.closing(EurekaServer("--peer", f"http://127.0.0.1:{other}", port=port))
            )
            for port, other in (ports, reversed(ports))
        )
        for server in (first, second):
            server.wait()
        yield first, second
