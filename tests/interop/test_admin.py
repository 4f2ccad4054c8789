"""A real Spring Boot Admin server finds the gateway in a real Eureka, shows it UP, and reads what it has to tell."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.interop.peers import ADMIN, missing, peer
from tests.support.gateway_process import gateway_process

pytestmark = [
    pytest.mark.skipif(bool(missing(ADMIN) or missing()), reason=missing(ADMIN) or missing()),
    pytest.mark.timeout(300),
]

ROUTES = """
routes:
  - {id: shop, uri: "http://127.0.0.1:1", predicates: ["Path=/shop/**"]}
"""
TOKEN = "operator-token-of-the-test"
ACCEPT = {"Accept": "application/vnd.spring-boot.actuator.v3+json, application/json"}
STATUS_SECONDS = 60.0


class Admin:
    """What the server's own page asks it."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session

    async def instance_in(self, status: str) -> dict[str, Any]:
        """The gateway, once it has this status, and its endpoints have been looked for."""
        async with asyncio.timeout(STATUS_SECONDS):
            while True:
                async with self._session.get(f"{self._base}/instances", headers=ACCEPT) as response:
                    instances: list[dict[str, Any]] = await response.json()
                for one in instances:
                    found = one["registration"]["name"].lower() == "gateway-server"
                    if found and one["statusInfo"]["status"] == status and len(one["endpoints"]) > 1:
                        return one
                await asyncio.sleep(0.2)

    async def ask(self, instance: str, path: str, method: str = "GET") -> tuple[int, Any]:
        """Status and JSON of a call to the gateway that goes through the server."""
        address = f"{self._base}/instances/{instance}/actuator/{path}"
        async with self._session.request(method, address, headers=ACCEPT) as response:
            return response.status, await response.json(content_type=None)


async def test_spring_boot_admin_shows_the_gateway_up(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    async with peer("eureka") as eureka:
        settings = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": "http://127.0.0.1:1/keys",
            "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": f"{eureka}/eureka/",
            "EUREKA_INSTANCE_HOSTNAME": "127.0.0.1",
            "MANAGEMENT_TOKEN": TOKEN,
            "METRICS_SPRING_NAMES": "true",
        }
        async with (
            gateway_process(settings, tmp_path) as gateway,
            peer("--eureka", f"{eureka}/eureka/", command=ADMIN) as base,
            aiohttp.ClientSession() as session,
        ):
            admin = Admin(base, session)
            instance = await admin.instance_in("UP")
            assert instance["registration"]["healthUrl"] == f"{gateway.base}/actuator/health"
            assert instance["registration"]["source"] == "discovery"
            assert instance["info"]["app"]["name"] == "gateway-server"
            assert instance["statusInfo"]["details"]["redis"]["status"] == "UP"
            found = {endpoint["id"] for endpoint in instance["endpoints"]}
            assert {"health", "info", "metrics", "gateway", "prometheus"} <= found
            await _reads(admin, instance["id"])


async def _reads(admin: Admin, instance: str) -> None:
    """What its page shows of a gateway."""
    status, metrics = await admin.ask(instance, "metrics")
    assert status == 200
    assert {"http.server.requests", "process.uptime", "process.cpu.usage"} <= set(metrics["names"])
    for name in ("http.server.requests?tag=uri:actuator.health", "process.uptime", "system.cpu.count"):
        status, metric = await admin.ask(instance, f"metrics/{name}")
        assert (status, metric["name"]) == (200, name.partition("?")[0])
        assert metric["measurements"][0]["value"] > 0
    # What only a JVM has is answered in a way that the page leaves it out.
    assert (await admin.ask(instance, "metrics/jvm.memory.used"))[0] == 404
    status, routes = await admin.ask(instance, "gateway/routes")
    assert (status, [route["route_id"] for route in routes]) == (200, ["shop"])
    status, filters = await admin.ask(instance, "gateway/globalfilters")
    assert (status, "gateway.middleware.gate.gate" in filters) == (200, True)
    # It passes no caller's token on, so who reaches its page can change nothing here.
    assert (await admin.ask(instance, "gateway/refresh", "POST"))[0] == 401
