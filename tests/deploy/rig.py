"""NGINX with the configuration that is shipped, before two gateway processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway import Answer, Caller, Service
from tests.support.gateway_process import GatewayProcess
from tests.support.tokens import Issuer

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx"


def nginx_executable() -> str | None:
    """Debian installs it where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Front:
    """NGINX and what stands behind it."""

    gateways: list[GatewayProcess]
    service: Service
    issuer: Issuer
    session: aiohttp.ClientSession
    log: Path
    socket: Path
    start: Callable[[int], Awaitable[GatewayProcess]]
    """Starts a gateway on a port, 0 for any."""

    async def restart(self, number: int) -> None:
        """Drains a gateway, and starts another one in its place."""
        gateway = self.gateways[number]
        gateway.send(signal.SIGTERM)
        assert await gateway.ended() == 0, gateway.lines
        self.gateways[number] = await self.start(gateway.port)

    def user(self, name: str) -> Caller:
        return Caller(self.session, "http://front.example", self.issuer.token(name))

    async def raw(
        self,
        method: str,
        target: str,
        *,
        version: str = "1.1",
        headers: str = "Host: front.example\r\n",
    ) -> tuple[int, bytes]:
        """Sends a request line as it is; status and everything that comes back."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(f"{method} {target} HTTP/{version}\r\n{headers}Connection: close\r\n\r\n".encode())
            async with asyncio.timeout(10):
                answer = await reader.read()
        finally:
            writer.close()
        return int(answer.split(b" ", 2)[1]), answer

    async def gateways_own(self, method: str, path: str) -> Answer:
        """The answer of a gateway itself, without NGINX."""
        async with aiohttp.ClientSession() as session:
            return await Caller(session, self.gateways[0].base, None)(method, path)

    @property
    def nobody(self) -> Caller:
        return Caller(self.session, "http://front.example", None)


MAIN = """
{user}worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    {temporary}
    include conf.d/*.conf;
}}
"""
"""A main configuration as a machine has one; the shipped site is one file in its ``conf.d``."""


def installed(folder: Path, ports: list[int], workers: int = 1) -> Path:
    """Installs the shipped site below ``folder`` as its head says, with this test's addresses and folders. Returns the
    main configuration."""
    addresses = {
        f"server 127.0.0.1:{shipped}": f"server 127.0.0.1:{here}"
        for shipped, here in zip((8081, 8082), ports, strict=True)
    }
    places = {
        "listen 80 backlog=4096;": f"listen unix:{folder}/front.sock;",
        "/var/log/nginx/": f"{folder}/",
    }
    files: dict[str, dict[str, str]] = {
        "waiting-room/gateways.conf": addresses,
        "waiting-room/headers.conf": {},
        "conf.d/waiting-room.conf": places,
    }
    for file, changes in files.items():
        config = (SHIPPED / Path(file).name).read_text()
        for shipped, here in changes.items():
            assert shipped in config, shipped
            config = config.replace(shipped, here)
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(config)
    main = folder / "nginx.conf"
    main.write_text(
        MAIN.format(
            user="user root; " if os.getuid() == 0 else "",
            workers=workers,
            temporary=" ".join(
                f"{kind}_temp_path {folder}/{kind};"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            ),
        )
    )
    return main


@asynccontextmanager
async def nginx(folder: Path, ports: list[int]) -> AsyncIterator[Path]:
    """Runs NGINX on a unix socket; yields the socket's path."""
    executable = nginx_executable()
    if executable is None:
        pytest.skip("nginx is not installed")
    config = installed(folder, ports)
    process = await asyncio.create_subprocess_exec(
        executable,
        "-p",
        str(folder),
        "-c",
        str(config),
        "-e",
        str(folder / "start.log"),
        "-g",
        f"daemon off; pid {folder}/nginx.pid;",
        stderr=asyncio.subprocess.STDOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    path = folder / "front.sock"
    try:
        async with asyncio.timeout(10):
            while not _accepts(path):
                assert process.returncode is None, (folder / "start.log").read_text()
                await asyncio.sleep(0.02)
        yield path
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
