"""HAProxy and NGINX before a gateway name their clients by the PROXY protocol, before plain HTTP and before TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.server.certificates import Certificates
from gateway.server.listener import Runner, open_port
from tests.deploy.rig import nginx_executable
from tests.support.certificate_files import pair_for, trusting
from tests.support.gateway import Gateways
from tests.support.waiting import eventually

PAIR = pair_for("gateway")
ROUTES = """
routes: [{id: home, uri: "%(service)s", predicates: ["Path=/home/**"]}]
access: {public: ["/home/**"]}
"""
CLIENT = "127.0.0.9"
"""The address that the client of the proxy calls from."""

HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend plain
    bind unix@{folder}/unused.sock
    bind 127.0.0.1:{port}
    default_backend gateway
backend gateway
    server gateway 127.0.0.1:{gateway} {send}
"""
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 100; }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass 127.0.0.1:{gateway};
        proxy_protocol on;
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def running(command: list[str], port: int) -> AsyncIterator[None]:
    """Runs a proxy until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        await eventually(lambda: process.returncode is not None or _accepts(port))
        assert process.returncode is None, await process.communicate()
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(10):
            await process.communicate()


@asynccontextmanager
async def proxy(kind: str, folder: Path, gateway: int) -> AsyncIterator[int]:
    """A proxy before the gateway at this port; yields the proxy's own."""
    port = free_port()
    if kind == "nginx":
        executable = nginx_executable()
        if executable is None or not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
            pytest.skip("nginx with its stream module is not installed")
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, gateway=gateway))
        command = [executable, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    else:
        executable = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
        if executable is None:
            pytest.skip("haproxy is not installed")
        (folder / "haproxy.cfg").write_text(
            HAPROXY.format(folder=folder, port=port, gateway=gateway, send=kind)
        )
        command = [executable, "-db", "-f", str(folder / "haproxy.cfg")]
    async with running(command, port):
        yield port


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "kind", ["nginx", "send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options ssl,unique-id check"]
)
async def test_the_gateway_sees_the_client_behind_the_proxy(
    gateways: Gateways, tmp_path: Path, kind: str, scheme: str
) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1")
    assert isinstance(gateway.runner, Runner)
    port = int(gateway.base.rpartition(":")[2])
    if scheme == "https":
        await open_port(gateway.runner, "127.0.0.1", 0, Certificates(*PAIR.write(tmp_path)))
        [port] = {address[1] for address in gateway.runner.addresses} - {port}
    connector = aiohttp.TCPConnector(ssl=trusting(PAIR), local_addr=(CLIENT, 0))
    async with (
        proxy(kind, tmp_path, port) as front,
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        url = (
            f"{scheme}://localhost:{front}/home/a"
            if scheme == "https"
            else f"http://127.0.0.1:{front}/home/a"
        )
        for _ in range(3):
            async with session.post(
                url, data=b"x" * 100_000, headers={"X-Forwarded-For": "203.0.113.1"}
            ) as answer:
                assert answer.status == 200
            seen = {name.lower(): value for name, value in gateways.service.seen[-1]["headers"]}
            assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == (CLIENT, scheme)
        connector_of_many = aiohttp.TCPConnector(
            ssl=trusting(PAIR), local_addr=(CLIENT, 0), force_close=True, limit=20
        )
        async with aiohttp.ClientSession(connector=connector_of_many) as others:

            async def one() -> int:
                async with others.get(url) as answer:
                    await answer.read()
                    return answer.status

            assert set(await asyncio.gather(*(one() for _ in range(60)))) == {200}
