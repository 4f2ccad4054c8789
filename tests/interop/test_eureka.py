"""Gateways and real Eureka servers: two that replicate, one killed, both gone, passwords, draining."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.interop.eureka_servers import EurekaServer, eureka_server, free_ports, missing, two_servers
from tests.support.gateway import Caller, a_service
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.listening import listening
from tests.support.tokens import Issuer, serving

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(300),
]

Pair = tuple[EurekaServer, EurekaServer]

ROUTES = """
routes:
  - id: orders
    uri: lb://OrDeRs
    predicates: ["Path=/orders/**"]
services:
  static: ["http://127.0.0.1:1"]
access:
  public: [GET /orders/**]
"""


@pytest.fixture
async def service() -> AsyncIterator[Any]:
    async with a_service() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    """Two servers for all tests that leave them alive."""
    with two_servers() as servers:
        yield servers


@pytest.fixture
async def pair(shared: Pair) -> Pair:
    """The shared servers, knowing nobody."""
    for server in shared:
        await server.forget_everybody()
    return shared


@pytest.fixture
def mortal() -> Iterator[Pair]:
    """Two servers of the test's own."""
    with two_servers() as servers:
        yield servers


class Site:
    """A gateway process that knows Eureka, and who asks it."""

    def __init__(self, gateway: GatewayProcess, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.ask = Caller(session, gateway.base, None)

    async def orders(self) -> int:
        return (await self.ask("GET", "/orders/1")).status

    async def until(self, status: int) -> None:
        """Waits until a call of the service is answered so."""
        async with asyncio.timeout(30):
            while await self.orders() != status:
                await asyncio.sleep(0.05)

    async def health(self) -> dict[str, Any]:
        answer = await self.ask("GET", "/actuator/health")
        return dict(answer.json["components"]["eureka"])

    async def until_health(self, status: str) -> None:
        async with asyncio.timeout(30):
            while (await self.health())["status"] != status:
                await asyncio.sleep(0.05)

    async def calls(self, operation: str, outcome: str = "ok") -> float:
        """How many calls to Eureka of that kind ended so."""
        text = (await self.ask("GET", "/actuator/prometheus")).body.decode()
        line = f'gateway_eureka_calls_total{{operation="{operation}",outcome="{outcome}"}} '
        return next(
            (float(each.removeprefix(line)) for each in text.splitlines() if each.startswith(line)), 0.0
        )


@pytest.fixture
async def start(tmp_path: Path, redis_url: str) -> AsyncIterator[Any]:
    """Starts a gateway with these servers; times are short."""
    (tmp_path / "routes.yaml").write_text(ROUTES)
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serving(Issuer()))
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def begin(*servers: EurekaServer, **changes: str) -> Site:
            environ = {
                "REDIS_URL": redis_url,
                "JWT_JWKS_URI": keys.uri,
                "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": ",".join(server.url for server in servers)
                or "http://127.0.0.1:1/",
                "EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS": "0.2",
                "EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS": "1",
                "SHUTDOWN_GRACE_SECONDS": "20",
            }
            gateway = await stack.enter_async_context(gateway_process(environ | changes, tmp_path))
            return Site(gateway, session)

        yield begin
        # Connections that are kept would hold up the gateways' end.
        await session.close()


async def test_a_gateway_is_registered_drained_and_unregistered(
    pair: Pair, start: Any, tmp_path: Path
) -> None:
    first, second = pair
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.BaseRequest) -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.Response(text="done")

    async with listening(web.ServerRunner(web.Server(slow), shutdown_timeout=1.0)) as url:
        await first.register("orders", url)
        site = await start(first, second, EUREKA_INSTANCE_METADATAMAP_TEAM="tickets")
        # Also at the server that never was told: they replicate.
        said = await second.until("gateway-server", status="UP")
        port = site.gateway.port
        assert said["hostName"] == said["ipAddr"] == "127.0.0.1"
        assert said["instanceId"] == f"127.0.0.1:gateway-server:{port}"
        assert said["port"] == {"$": port, "@enabled": "true"}
        assert said["securePort"]["@enabled"] == "false"
        assert said["vipAddress"] == "gateway-server"
        assert said["leaseInfo"]["durationInSecs"] == 3
        assert said["metadata"] == {"version": said["metadata"]["version"], "team": "tickets"} | {
            "management.port": str(port)
        }
        for name in ("healthCheckUrl", "statusPageUrl"):
            assert said[name].startswith(site.gateway.base)
            assert (await site.ask("GET", said[name].removeprefix(site.gateway.base))).status == 200
        # Twice the lease later it is still there: heartbeats come.
        beats = await site.calls("heartbeat")
        async with asyncio.timeout(60):
            while await site.calls("heartbeat") < beats + 7:
                await asyncio.sleep(0.1)
        assert await second.instance("gateway-server") is not None
        assert await site.calls("register") == 1
        assert (await site.health())["details"]["registered"] is True

        request = asyncio.create_task(site.orders())
        await arrived.wait()
        site.gateway.send(signal.SIGTERM)
        await first.until("gateway-server", status="DOWN")
        assert not request.done()
        go_on.set()
        assert await request == 200
        assert await site.gateway.ended() == 0
        await first.until_gone("gateway-server")
        assert "Traceback" not in "\n".join(site.gateway.lines)


async def test_a_registration_under_springs_names_is_what_the_server_tells_others(
    pair: Pair, start: Any
) -> None:
    first, second = pair
    await start(
        EUREKA_CLIENT_SERVICEURL_DEFAULTZONE="",
        EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE=f"{first.url},{second.url}",
        EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS="",
        SPRING_APPLICATION_JSON=json.dumps(
            {
                "spring.application.name": "edge",
                "eureka.instance": {
                    "instance-id": "${spring.cloud.client.ip-address}:${spring.application.name}",
                    "ip-address": "10.1.2.3",
                    "prefer-ip-address": True,
                    "non-secure-port-enabled": False,
                    "secure-port": 8443,
                    "secure-port-enabled": True,
                    "lease-renewal-interval-in-seconds": 1,
                    "lease-expiration-duration-in-seconds": 7,
                    "health-check-url": "https://edge.example.com/health",
                    "metadata-map": {"configPath": "/x"},
                },
            }
        ),
    )
    said = await second.until("edge", status="UP")
    assert (said["instanceId"], said["hostName"], said["ipAddr"]) == ("10.1.2.3:edge", "10.1.2.3", "10.1.2.3")
    assert (said["port"]["@enabled"], said["securePort"]) == ("false", {"$": 8443, "@enabled": "true"})
    assert (said["leaseInfo"]["renewalIntervalInSecs"], said["leaseInfo"]["durationInSecs"]) == (1, 7)
    assert said["healthCheckUrl"] == "https://edge.example.com/health"
    assert said["metadata"]["configPath"] == "/x"


async def test_services_come_change_and_go_by_deltas(pair: Pair, start: Any, service: Any) -> None:
    first, second = pair
    site = await start(first, second)
    assert await site.orders() == 503
    id_ = await first.register("orders", service.url)
    await site.until(200)
    whole = await site.calls("fetch")
    for status, answer in (("OUT_OF_SERVICE", 503), ("UP", 200), ("DOWN", 503), ("UP", 200)):
        assert await first.call("PUT", f"apps/ORDERS/{id_}/status?value={status}") == 200
        await site.until(answer)
    assert await first.call("DELETE", f"apps/ORDERS/{id_}") == 200
    await site.until(503)
    # By deltas, whose hash agreed, but for the odd one that the server made up of two moments.
    assert await site.calls("fetch") - whole < await site.calls("delta") / 4


async def test_an_instance_that_refuses_connections_gets_no_requests_though_its_lease_goes_on(
    pair: Pair, start: Any, service: Any
) -> None:
    first, second = pair
    async with a_service() as other:
        await first.register("orders", service.url)
        await first.register("orders", other.url)
        site = await start(first, second)
        async with asyncio.timeout(30):
            while not (service.seen and other.seen):
                assert await site.orders() in {200, 503}
                await asyncio.sleep(0.02)
    for _ in range(20):
        assert await site.orders() == 200


async def test_one_server_is_killed_then_the_other_and_no_request_fails(
    mortal: Pair, start: Any, service: Any
) -> None:
    first, second = mortal
    await first.register("orders", service.url)
    await second.until("orders")
    zones = {"EUREKA_CLIENT_SERVICEURL_ZONEA": first.url, "EUREKA_CLIENT_SERVICEURL_ZONEB": second.url}
    site = await start(EUREKA_CLIENT_AVAILABILITYZONES="zone-a,zone-b", **zones)
    await site.until(200)
    said = await second.until("gateway-server", status="UP")
    assert said["metadata"]["zone"] == "zone-a"
    failed: list[int] = []
    stop = asyncio.Event()

    async def keep_asking() -> None:
        while not stop.is_set():
            if (status := await site.orders()) != 200:
                failed.append(status)
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(keep_asking())
    first.kill()
    # What is new at the other server is seen, and this gateway's lease goes on there.
    async with a_service() as other:
        id_ = await second.register("orders", other.url)
        async with asyncio.timeout(30):
            while not other.seen:
                await asyncio.sleep(0.02)
        assert await second.call("DELETE", f"apps/ORDERS/{id_}") == 200
        beats = await site.calls("heartbeat")
        async with asyncio.timeout(60):
            while await site.calls("heartbeat") < beats + 7:
                await asyncio.sleep(0.1)
        assert (await second.until("gateway-server"))["status"] == "UP"
        async with asyncio.timeout(30):
            while (await site.health())["details"]["instances"] != 2:
                await asyncio.sleep(0.05)

    second.kill()
    await site.until_health("UNKNOWN")
    answer = await site.ask("GET", "/actuator/health/readiness")
    assert answer.status == 200
    fetched = await site.calls("delta", "failed") + await site.calls("fetch", "failed")
    async with asyncio.timeout(60):
        while await site.calls("delta", "failed") + await site.calls("fetch", "failed") < fetched + 3:
            await asyncio.sleep(0.1)

    # A server that knows nobody any more takes nothing away.
    port = int(first.url.rstrip("/").removesuffix("/eureka").rpartition(":")[2])
    async with eureka_server(port=port) as again:
        await site.until_health("UP")
        await again.until("gateway-server", status="UP")
        assert await again.instance("orders") is None
        before = await site.calls("delta")
        async with asyncio.timeout(60):
            while await site.calls("delta") < before + 5:
                await asyncio.sleep(0.1)
        stop.set()
        await asking
        assert failed == []
        assert len([line for line in site.gateway.lines if "WARNING" in line and "Eureka" in line]) == 1
        site.gateway.send(signal.SIGTERM)
        assert await site.gateway.ended() == 0


async def test_credentials_in_the_address_are_used_and_never_shown(start: Any, service: Any) -> None:
    async with eureka_server(credentials="gateway:hunter2") as server:
        await server.register("orders", service.url)
        site = await start(server)
        await server.until("gateway-server", status="UP")
        await site.until(200)
        server.url = server.url.replace("hunter2", "wr0ng")
        stranger = await start(server, SPRING_APPLICATION_NAME="stranger")
        assert await stranger.orders() == 503
        assert (await stranger.health())["status"] == "UNKNOWN"
        warnings = [line for line in stranger.gateway.lines if "WARNING" in line]
        assert [line for line in warnings if "status 401" in line] == warnings[:1]
        for each in (site, stranger):
            each.gateway.send(signal.SIGTERM)
            assert await each.gateway.ended() == 0
            assert "hunter2" not in "\n".join(each.gateway.lines)
            assert "wr0ng" not in "\n".join(each.gateway.lines)


async def test_without_any_server_everything_else_works(start: Any, service: Any) -> None:
    (port,) = free_ports(1)
    site = await start(EUREKA_CLIENT_SERVICEURL_DEFAULTZONE=f"http://127.0.0.1:{port}/eureka/")
    assert await site.orders() == 503
    assert (await site.health())["status"] == "UNKNOWN"
    assert (await site.ask("GET", "/actuator/health")).status == 200
    async with asyncio.timeout(30):
        while await site.calls("fetch", "failed") < 4:
            await asyncio.sleep(0.05)
    site.gateway.send(signal.SIGTERM)
    assert await site.gateway.ended() == 0
    assert len([line for line in site.gateway.lines if "WARNING" in line and "Eureka" in line]) == 1


PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "eureka.md").read_text(encoding="utf-8")


async def test_the_page_can_be_followed_word_for_word(pair: Pair, tmp_path: Path) -> None:
    eureka, _ = pair
    service, gateway = free_ports(2)
    begin, then = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[:2]
    asked, health, entry, leave, soon, stop, end = then.splitlines()
    script = "".join(
        [
            f"export SERVER_PORT={gateway}\n{begin}",
            'answered() { until curl -si http://localhost:8080/orders/orders.json | grep -q "HTTP/1.1 $1"\n'
            "do sleep 0.1; done; }\n",
            "until grep -q 'registered with Eureka' gateway.log; do sleep 0.1; done\n",
            "answered 200\n",
            f"{asked}\n{health}\n{entry}\n",
            # What a server tells may be a second old.
            f"until curl -s {eureka.url}apps/GATEWAY-SERVER | grep -q UP; do sleep 0.1; done\n{entry}\n",
            f"{leave}\n",
            "answered 503\n",
            f"{soon}\n{stop}\nwait %2\necho gateway ended $?\n{end}\n",
        ]
    )
    for there, here in (
        ("http://localhost:8761/eureka/", eureka.url),
        ("8101", str(service)),
        ("localhost:8080", f"localhost:{gateway}"),
    ):
        script = script.replace(there, here)
    process = await asyncio.create_subprocess_exec(
        "bash",
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(120):
            said = (await process.communicate(script.encode()))[0].decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert '"app": "ORDERS"' in said
    assert '"eureka":{"status":"UP"' in said
    assert "<status>UP</status>" in said
    assert "NO_INSTANCE" in said
    assert "gateway ended 0" in said
    await eureka.until_gone("gateway-server")
