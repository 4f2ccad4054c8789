"""The shipped configurations for sites that keep their own proxy, each with the real program before a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import aiohttp
import pytest

from gateway.auth.identity import _RESERVED
from tests.deploy.rig import nginx_executable
from tests.deploy.test_proxy_protocol import free_port, running
from tests.support.gateway import Caller, Gateways, Running
from tests.support.raw_http import connected

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

SHIPPED = Path(__file__).parents[2] / "deploy" / "forward-auth"
PROXIES = ("nginx", "caddy", "traefik", "envoy")
ROUTES = """
routes: []
gates:
  - {calls: ["/sale/**"]}
  - {room: paged, calls: ["/paged/**"]}
rooms: {paged: {page: {}, capacity: 1}}
access: {public: ["/open/**"]}
"""
IDENTITY = ("X-User-Id", "X-User-Type", "X-Visitor-Id", "X-Gateway-Signature", "X-Queue-Pass", "X-Queue-Room")
HTML = {
    "Accept": "text/html",
    "Accept-Encoding": "identity",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


def executable(name: str) -> str | None:
    """A program of this environment, else of the machine."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def installed(name: str, folder: Path, gateway: int, site: int) -> tuple[list[str], int]:
    """The command that runs the shipped configuration with these ports, and the port of the proxy."""
    port = free_port()
    file = {"nginx": "nginx.conf", "caddy": "Caddyfile", "traefik": "traefik.yaml", "envoy": "envoy.yaml"}[
        name
    ]
    config = (SHIPPED / file).read_text()
    for shipped, here in ((8080, gateway), (9000, site), (8000, port)):
        assert re.search(rf"(:|port_value: ){shipped}\b", config), shipped
        config = re.sub(rf"(:|port_value: ){shipped}\b(?!.*The waiting)", rf"\g<1>{here}", config)
    path = folder / file
    program = nginx_executable() if name == "nginx" else executable(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    if name == "nginx":
        temporary = " ".join(
            f"{kind}_temp_path {folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = config.replace("access_log off;", f"access_log off; {temporary}")
        path.write_text(f"{'user root; ' if os.getuid() == 0 else ''}{config}")
        options = f"daemon off; pid {folder}/nginx.pid;"
        return [program, "-p", str(folder), "-c", str(path), "-e", "stderr", "-g", options], port
    path.write_text(config)
    if name == "caddy":
        return [program, "run", "--config", str(path), "--adapter", "caddyfile"], port
    if name == "traefik":
        address = f"--entrypoints.web.address=127.0.0.1:{port}"
        return [program, address, f"--providers.file.filename={path}"], port
    return [program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"], port


class Front:
    """A proxy before gateway and site."""

    def __init__(self, base: str, gateway: Running, session: aiohttp.ClientSession) -> None:
        self.base = base
        self.gateway = gateway
        self._session = session

    def user(self, name: str) -> Caller:
        return Caller(self._session, self.base, self.gateway.issuer.token(name))

    @property
    def nobody(self) -> Caller:
        return Caller(self._session, self.base, None)


@asynccontextmanager
async def fronted(name: str, folder: Path, gateways: Gateways, gateway: Running) -> AsyncIterator[Front]:
    site = int(gateways.service.url.rpartition(":")[2])
    command, port = installed(name, folder, int(gateway.base.rpartition(":")[2]), site)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        running(command, port),
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
    ):
        front = Front(f"http://127.0.0.1:{port}", gateway, session)
        async with asyncio.timeout(20):
            # Traefik listens before it has read its routes.
            while (await front.nobody("GET", "/open/ready")).status == 404:
                await asyncio.sleep(0.05)
        gateways.service.seen.clear()
        yield front


@pytest.fixture(params=PROXIES)
async def front(request: pytest.FixtureRequest, gateways: Gateways, tmp_path: Path) -> AsyncIterator[Front]:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1", queue_status_interval_seconds=1)
    async with fronted(request.param, tmp_path, gateways, gateway) as made:
        yield made


def sent(gateways: Gateways) -> dict[str, str]:
    return {name.lower(): value for name, value in gateways.service.seen[-1]["headers"]}


async def test_in_and_waiting(front: Front, gateways: Gateways) -> None:
    a, b = front.user("a"), front.user("b")
    assert (await front.nobody("GET", "/open/x?q=1")).status == 200
    assert gateways.service.seen[-1]["target"] == "/open/x?q=1"
    assert (await front.nobody("GET", "/sale/x")).status == 401
    assert (await a("GET", "/sale/x")).status == 403
    assert (await a.lineup()).status == 200
    assert (await b.lineup()).status == 200
    gateways.service.seen.clear()
    answer = await b("POST", "/sale/buy", data=b"x" * 1000)
    assert (answer.status, answer.code) == (429, "QUEUE_WAITING")
    assert answer.headers["Retry-After"]
    assert gateways.service.seen == []
    answer = await a("POST", "/sale/buy?n=2", data=b"x" * 100_000)
    assert answer.status == 200
    assert gateways.service.seen[-1]["body"] == "x" * 100_000
    assert gateways.service.seen[-1]["method"] == "POST"
    assert (sent(gateways)["x-user-id"], sent(gateways)["x-queue-room"]) == ("a", "default")
    async with b.stream() as stream:
        await stream.until("STATUS_UPDATE")
        assert (await a("DELETE", "/api/v1/queue/allowed-in-token")).status == 200
        await stream.until("ALLOWED_IN")
    assert (await b("GET", "/sale/x")).status == 200
    assert sent(gateways)["x-user-id"] == "b"


async def test_a_browser_gets_the_page(front: Front) -> None:
    await front.user("b").lineup(room="paged")
    answer = await front.user("a")("GET", "/paged/x", headers=HTML)
    assert answer.status in (429, 503)
    assert b"<html" in answer.body
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Security-Policy"]


def spelled(name: str) -> list[str]:
    """The name with each mark that a site may take for a hyphen."""
    first, *others = name.split("-")
    return [
        first + "".join(map("".join, zip(marks, others, strict=True)))
        for marks in product("-_.", repeat=len(others))
    ]


def letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


async def test_nobody_says_who_they_are(front: Front, gateways: Gateways) -> None:
    spellings = [each for name in IDENTITY for each in spelled(name)]
    for change in (str, str.lower, str.upper):
        fields = "".join(f"{change(name)}: admin\r\n" for name in spellings).encode()
        async with connected(front.base) as client:
            client.send(b"GET /open/x HTTP/1.1\r\nHost: site\r\n%b\r\n" % fields)
            answer = await client.answer()
        assert answer.status == 200, answer.body
        assert not set(map(letters, sent(gateways))) & set(map(letters, IDENTITY))
    assert (await front.user("a")("GET", "/open/x", headers={"X-User-Id": "admin"})).status == 200
    assert sent(gateways)["x-user-id"] == "a"


OTHER_CALL = (
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Override-Method",
    "X-Envoy-Original-Method",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Script-Name",
    "X-Script-Name",
    "X-Forwarded-Script-Name",
    "X-Forwarded-Path",
    "X-Forwarded-Url",
    "X-Traversal-Path",
    "X-VHM-Root",
    "Daphne-Root-Path",
    "Path-Info",
    "X-Path-Info",
    "X-Astro-Path",
    "X-Envoy-Original-Path",
    "X-Invoke-Path",
    "X-Matched-Path",
    "X-Original-Path",
    "X-Replaced-Path",
    "X-Request-Uri",
)
DESCRIBES = ("X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Method", "X-Original-URI")
"""With these a proxy describes a call, so a client's own have to go before."""


def test_these_are_the_headers_that_no_client_may_send() -> None:
    known = {each.decode() for each in _RESERVED}
    assert known == set(map(letters, (*IDENTITY, *OTHER_CALL, *DESCRIBES)))


async def test_no_header_names_another_call_to_the_site(front: Front, gateways: Gateways) -> None:
    """A site that believes such a header would serve a call that needs a place, and the gateway was asked about one
    that needs none."""
    for name in (*OTHER_CALL, "Proxy"):
        fields = "".join(f"{each}: /sale/x\r\n" for each in spelled(name)).encode()
        async with connected(front.base) as client:
            client.send(b"GET /open/x HTTP/1.1\r\nHost: site\r\n%b\r\n" % fields)
            assert (await client.answer()).status == 200, name
        assert letters(name) not in set(map(letters, sent(gateways))), name
    for name in DESCRIBES:
        for each in spelled(name):
            seen = len(gateways.service.seen)
            async with connected(front.base) as client:
                client.send(b"GET /open/x HTTP/1.1\r\nHost: site\r\n%b: /sale/x\r\n\r\n" % each.encode())
                await client.answer()
            if len(gateways.service.seen) > seen:
                assert not [value for key, value in sent(gateways).items() if value == "/sale/x"], each


async def test_no_client_describes_its_call_otherwise(front: Front, gateways: Gateways) -> None:
    await front.user("a").lineup()
    for name in (
        "X-Forwarded-Uri",
        "X-Original-URI",
        "X_Forwarded_Uri",
        "X-Forwarded-Method",
        "X-Original-Method",
    ):
        value = "GET" if "ethod" in name else "/open/x"
        answer = await front.user("b")("GET", "/sale/x", headers={name: value})
        assert answer.status in (400, 403, 429), name
    for path in ("/open/../sale/x", "/open/%2e%2e/sale/x", "/SALE/x", "//sale/x", "/sale%2fx", "/./sale/x"):
        async with connected(front.base) as client:
            token = front.gateway.issuer.token("b").encode()
            client.send(
                b"GET %b HTTP/1.1\r\nHost: site\r\nAuthorization: Bearer %b\r\n\r\n" % (path.encode(), token)
            )
            status = (await client.answer()).status
        assert status in (301, 308, 400, 403, 404, 429), path
    assert gateways.service.seen == []


async def test_only_the_proxy_itself_asks(front: Front) -> None:
    for path in (
        "/api/v1/queue/authorize",
        "/api/v1/queue/authorize?codes=nginx",
        "/api/v1/queue/authorize/ext/open/x",
        "/api/v1/queue/Authorize",
        "/api/v1//queue/authorize",
        "//api/v1/queue/authorize",
        "/api/v1/queue/%61uthorize",
        "/api/v1/queue/%41UTHORIZ%45/ext/open/x",
        "/api/v1/queue/x/../authorize",
        "/api/v1/queue/./authorize",
    ):
        # Sent as it is: aiohttp's client would decode it.
        async with connected(front.base) as client:
            client.send(
                b"GET %b HTTP/1.1\r\nHost: site\r\nAuthorization: Bearer %b\r\nX-Forwarded-Method: GET\r\n"
                b"X-Forwarded-Uri: /open/x\r\n\r\n"
                % (path.encode(), front.gateway.issuer.token("a").encode())
            )
            answer = await client.answer()
        # Traefik sends a client on to the path without dots.
        assert answer.status in (301, 302, 307, 308, 400, 404), path
        assert not answer.all("x-user-id"), path


async def test_a_websocket_passes_for_those_who_are_in(front: Front) -> None:
    user = front.user("a")
    await user.lineup()
    headers = {"Authorization": f"Bearer {user.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{front.base}/sale/ws", headers=headers) as socket,
    ):
        await socket.send_str("hello")
        assert (await socket.receive(10)).data == "hello"
    other = {"Authorization": f"Bearer {front.user('b').token}"}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{front.base}/sale/ws", headers=other)
    assert refused.value.status == 403


@pytest.mark.parametrize("name", PROXIES)
async def test_a_foreign_page_opens_no_websocket_with_a_cookie(
    name: str, gateways: Gateways, tmp_path: Path
) -> None:
    gateway = await gateways.start(
        ROUTES, trusted_proxies="127.0.0.1", jwt_cookie_name="t", jwt_cookie_calls="all"
    )
    async with fronted(name, tmp_path, gateways, gateway) as front, aiohttp.ClientSession() as session:
        await front.user("a").lineup()

        def opened(site: str, origin: str) -> contextlib.AbstractAsyncContextManager[object]:
            headers = {"Cookie": f"t={front.user('a').token}", "Origin": origin}
            if site:
                # Browsers send it over TLS only.
                headers |= {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "websocket"}
            return session.ws_connect(f"{front.base}/sale/ws", headers=headers)

        for site in ("cross-site", "same-site", ""):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with opened(site, "https://evil.example"):
                    pass
            assert refused.value.status == 403, site
        for site in ("same-origin", ""):
            async with opened(site, front.base):
                pass


@pytest.mark.parametrize("name", PROXIES)
async def test_without_the_gateway_nobody_gets_in(name: str, gateways: Gateways, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(gateways.running(ROUTES, trusted_proxies="127.0.0.1"))
        front = await stack.enter_async_context(fronted(name, tmp_path, gateways, gateway))
        token = front.gateway.issuer.token("a")
        await gateway.runner.cleanup()
        answer = await Caller(front._session, front.base, token)("GET", "/open/x")
        assert answer.status >= 500
        assert gateways.service.seen == []


# Traefik waits for 30 s, which can't be set.
@pytest.mark.parametrize("name", ["nginx", "caddy", "envoy"])
async def test_a_gateway_that_hangs_holds_no_call_for_long(
    name: str, gateways: Gateways, tmp_path: Path
) -> None:
    site = int(gateways.service.url.rpartition(":")[2])
    # The system takes connections, and nothing answers: as with a process that is stopped. Without the shipped bounds
    # of 8 s these proxies wait for a minute or for ever.
    with socket.create_server(("127.0.0.1", 0)) as hung:
        command, port = installed(name, tmp_path, hung.getsockname()[1], site)
        async with running(command, port), aiohttp.ClientSession() as session, asyncio.timeout(25):
            answer = await Caller(session, f"http://127.0.0.1:{port}", None)("GET", "/open/x")
    assert answer.status in (503, 504)
    assert gateways.service.seen == []


def test_each_configuration_says_how_to_run_it() -> None:
    assert {path.name for path in SHIPPED.iterdir()} == {
        "nginx.conf",
        "Caddyfile",
        "traefik.yaml",
        "envoy.yaml",
    }
    for path in SHIPPED.iterdir():
        assert "docs/how-to/forward-auth.md" in path.read_text()
