"""Services over TLS with authorities and certificates of their own: on the fast path, without it, and as WebSockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509

from gateway.app import ROUTE_SOURCES
from gateway.context import CONFIGURATION, OBSERVERS
from tests.support.authority import Authority, demanding_server
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening
from tests.support.waiting import eventually

OURS, THEIRS = Authority("ours"), Authority("theirs")


class Call(NamedTuple):
    """A request: its path, the name in the client's certificate, and the client's end of the connection."""

    path: str
    client: str
    connection: tuple[str, int]


@dataclass
class Secured:
    """A service over TLS that asks for certificates. ``calls`` are the requests that it got."""

    url: str = ""
    port: int = 0
    calls: list[Call] = field(default_factory=list)

    @property
    def clients(self) -> list[str]:
        """The name in the certificate of each request."""
        return [call.client for call in self.calls]

    @property
    def connections(self) -> set[tuple[str, int]]:
        """The ends of its connections."""
        return {call.connection for call in self.calls}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        name = x509.load_der_x509_certificate(shown).subject.rfc4514_string()
        end = transport.get_extra_info("peername")
        self.calls.append(Call(request.path, name.removeprefix("CN="), end))
        if "Upgrade" in request.headers:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        return web.Response(text="ok")


@asynccontextmanager
async def secured(folder: Path, *names: str, authority: Authority = OURS) -> AsyncIterator[Secured]:
    """The service, running; its certificate has these names."""
    service = Secured()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    folder.mkdir(exist_ok=True)
    context = demanding_server(authority, names or ("127.0.0.1", "shop.internal"), folder)
    async with listening(runner, context) as service.url:
        service.port = int(service.url.rpartition(":")[2])
        yield service


def route(name: str, uri: str, **metadata: Path | str) -> str:
    """A route whose calls begin with its name."""
    entries = "".join(f"\n      tls-{key.replace('_', '-')}: {value}" for key, value in metadata.items())
    return f"""
  - id: {name}
    uri: {uri}
    predicates: ["Path=/{name}/**"]
    metadata:
      response-timeout: 20000{entries}"""


def routes(*each: str, services: str = "{}") -> str:
    return f"routes:{''.join(each)}\nservices: {services}\naccess:\n  public: ['GET /**', 'POST /**']\n"


@pytest.fixture(params=[True, False], ids=["fast path", "aiohttp"])
def fast_path(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def started(gateways: Gateways, text: str, *, fast_path: bool) -> Running:
    return await gateways.start(text.replace("%", "%%"), fast_path=fast_path)


async def statuses(gateway: Running, *names: str) -> list[int]:
    """Of a GET to each of these routes."""
    return [(await gateway.nobody("GET", f"/{name}/a")).status for name in names]


async def test_each_route_shows_its_own_certificate_and_believes_its_own_authority(
    gateways: Gateways, tmp_path: Path, fast_path: bool
) -> None:
    ann, bob = (OURS.issue(name).write(tmp_path, name) for name in ("ann", "bob"))
    stranger = THEIRS.issue("stranger").write(tmp_path, "stranger")
    both = tmp_path / "both.pem"
    both.write_bytes(ann[0].read_bytes() + ann[1].read_bytes())
    ca, other = OURS.write(tmp_path), THEIRS.write(tmp_path, "other")
    async with secured(tmp_path / "service") as service:
        uri = service.url
        text = routes(
            route("ann", uri, ca=ca, certificate=ann[0], private_key=ann[1]),
            route("bob", uri, ca=ca, certificate=bob[0], private_key=bob[1]),
            route("one-file", uri, ca=ca, certificate=both),
            route("none", uri, ca=ca),
            route("stranger", uri, ca=ca, certificate=stranger[0], private_key=stranger[1]),
            route("wrong-authority", uri, ca=other, certificate=ann[0], private_key=ann[1]),
            route("system", uri),
            route("wrong-name", uri, ca=ca, certificate=both, server_name="bank.internal"),
            route("other-name", uri, ca=ca, certificate=both, server_name="shop.internal"),
        )
        gateway = await started(gateways, text, fast_path=fast_path)
        assert await statuses(gateway, "ann", "bob", "one-file", "other-name") == [200] * 4
        assert service.clients == ["ann", "bob", "ann", "ann"]
        refused = ("none", "stranger", "wrong-authority", "system", "wrong-name")
        assert await statuses(gateway, *refused) == [502] * 5
        # A second time there are idle connections of others, which fit none of these.
        assert await statuses(gateway, *refused) == [502] * 5
        assert len(service.clients) == 4


async def test_a_connection_is_used_again_by_the_same_identity_alone(
    gateways: Gateways, tmp_path: Path, fast_path: bool
) -> None:
    ann, bob = (OURS.issue(name).write(tmp_path, name) for name in ("ann", "bob"))
    ca = OURS.write(tmp_path)
    async with secured(tmp_path / "service") as service:
        text = routes(
            route("ann", service.url, ca=ca, certificate=ann[0], private_key=ann[1]),
            # The same in all: it may share connections with the route before.
            route("again", service.url, ca=ca, certificate=ann[0], private_key=ann[1]),
            route("bob", "lb://shop", ca=ca, certificate=bob[0], private_key=bob[1]),
            services=f"{{shop: ['{service.url}']}}",
        )
        gateway = await started(gateways, text, fast_path=fast_path)
        assert await statuses(gateway, *["ann", "bob", "again"] * 5) == [200] * 15
        assert service.clients == ["ann", "bob", "ann"] * 5
        assert len(service.connections) == 2


async def test_a_websocket_shows_the_certificate_too(
    gateways: Gateways, tmp_path: Path, fast_path: bool
) -> None:
    ann = OURS.issue("ann").write(tmp_path, "ann")
    ca = OURS.write(tmp_path)
    async with secured(tmp_path / "service") as service:
        text = routes(
            route("ann", service.url, ca=ca, certificate=ann[0], private_key=ann[1]),
            route("none", service.url, ca=ca),
        )
        gateway = await started(gateways, text, fast_path=fast_path)
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{gateway.base}/ann/a") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str(timeout=20) == "hello"
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{gateway.base}/none/a")
        assert refused.value.status == 502
        assert service.clients == ["ann"]


async def test_a_service_with_old_tls_is_refused(gateways: Gateways, tmp_path: Path, fast_path: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*OURS.issue("127.0.0.1").write(tmp_path, "old"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    runner = web.ServerRunner(web.Server(lambda request: asyncio.sleep(0, web.Response())))  # type: ignore[arg-type]
    async with listening(runner, context) as url:
        text = routes(route("old", url, ca=OURS.write(tmp_path)))
        gateway = await started(gateways, text, fast_path=fast_path)
        assert await statuses(gateway, "old") == [502]


async def test_a_renewed_certificate_counts_without_a_change_of_the_route_file(
    gateways: Gateways, tmp_path: Path, fast_path: bool
) -> None:
    certificate, key = OURS.issue("ann").write(tmp_path, "client")
    async with secured(tmp_path / "service") as service:
        text = routes(
            route("a", service.url, ca=OURS.write(tmp_path), certificate=certificate, private_key=key)
        )
        gateway = await started(gateways, text, fast_path=fast_path)
        assert await statuses(gateway, "a") == [200]
        # First one that can't be used: the one before stays in force.
        before = gateway.app[CONFIGURATION].tables.current.table
        key.write_text("garbage")
        await eventually(lambda: gateway.app[ROUTE_SOURCES].issues, what="a fault")
        assert await statuses(gateway, "a") == [200]
        assert service.clients == ["ann"] * 2
        OURS.issue("bob").write(tmp_path, "client")
        await eventually(
            lambda: gateway.app[CONFIGURATION].tables.current.table is not before, what="a new table"
        )
        assert await statuses(gateway, "a") == [200]
        assert service.clients[-1] == "bob"


async def test_the_health_of_a_service_is_asked_with_the_certificate_of_its_route(
    gateways: Gateways, tmp_path: Path
) -> None:
    ann = OURS.issue("ann").write(tmp_path, "ann")
    ca = OURS.write(tmp_path)
    health = "health: {path: /health, interval: 100ms, timeout: 10s, unhealthy: 1, healthy: 1}"
    async with secured(tmp_path / "service") as service:
        text = routes(
            route("first", "lb://shop"),
            route("second", "lb://shop", ca=ca, certificate=ann[0], private_key=ann[1]),
            route("other", "lb://open", ca=ca),
            services=f"{{shop: {{instances: ['{service.url}'], {health}}}, "
            f"open: {{instances: ['{service.url}'], {health}}}}}",
        )
        gateway = await started(gateways, text, fast_path=True)
        count = gateway.app[OBSERVERS].metrics.registry.get_sample_value
        for name, outcome in (("shop", "passed"), ("open", "failed")):
            labels = {"service": name, "outcome": outcome}
            await eventually(
                lambda labels=labels: count("gateway_health_checks_total", labels), what=f"{name}: {outcome}"
            )
        assert set(service.clients) == {"ann"}
        for name, outcome in (("shop", "failed"), ("open", "passed")):
            assert not count("gateway_health_checks_total", {"service": name, "outcome": outcome})


async def test_routes_to_a_service_call_it_as_it_says_and_share_connections(
    gateways: Gateways, tmp_path: Path, fast_path: bool
) -> None:
    ann, bob = (OURS.issue(name).write(tmp_path, name) for name in ("ann", "bob"))
    ca = OURS.write(tmp_path)
    health = "health: {path: /health, interval: 100ms, timeout: 10s, unhealthy: 1, healthy: 1}"
    # The address is not in the certificate.
    async with secured(tmp_path / "service", "shop.internal") as service:
        text = routes(
            # Not as this route says.
            route("wrong-name", "lb://shop", server_name="bank.internal"),
            route("one", "lb://shop"),
            route("two", "lb://shop"),
            route("bob", "lb://shop", certificate=bob[0], private_key=bob[1]),
            route("address", service.url),
            services=f"""{{shop: {{instances: ['{service.url}'], {health},
              tls-ca: {ca}, tls-certificate: {ann[0]}, tls-private-key: {ann[1]},
              tls-server-name: shop.internal}}}}""",
        )
        gateway = await started(gateways, text, fast_path=fast_path)
        count = gateway.app[OBSERVERS].metrics.registry.get_sample_value
        passed = {"service": "shop", "outcome": "passed"}
        await eventually(lambda: count("gateway_health_checks_total", passed), what="a check that passes")
        assert set(service.clients) == {"ann"}
        assert not count("gateway_health_checks_total", passed | {"outcome": "failed"})
        assert await statuses(gateway, "wrong-name", "address") == [502, 502]
        before = len(service.calls)
        assert await statuses(gateway, "one", "two", "bob", "one") == [200] * 4
        called = [call for call in service.calls[before:] if call.path != "/health"]
        assert [call.client for call in called] == ["ann", "ann", "bob", "ann"]
        assert len({call.connection for call in called}) == 2
