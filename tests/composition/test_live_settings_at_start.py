"""A Config Server that answers with something unusable at the start: nothing is served until it has mended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis as Client

from gateway.app import ROUTE_SOURCES
from tests.support.config_server import ConfigServerStub, config_server, routes
from tests.support.eureka import fake_eureka
from tests.support.gateway import Gateways, Running
from tests.support.gateway_process import gateway_process
from tests.support.tokens import Issuer, serving

pytestmark = pytest.mark.usefixtures("quick_retries")

NEW = "spring.cloud.gateway.server.webflux"
JWT = "spring.security.oauth2.resourceserver.jwt."
FILE = """
routes: [{id: filed, uri: 'lb://svc', predicates: [Path=/filed/**]}]
services: {svc: ['%(service)s']}
gates: [{calls: [POST /filed/gated]}, {room: vip, calls: [POST /filed/vip]}]
access: {public: [GET /filed/open]}
"""
FAULTY = {**routes("a"), f"{NEW}.routes[0].uri": "nowhere"}
TOKEN = "operator-token-of-the-test"
UNUSABLE = [
    "faults",
    "not JSON",
    "not a Config Server",
    "malformed",
    "placeholder",
    "breaks off",
    "not decrypted",
    "encrypted",
    "401",
    "404",
    "500",
    "302",
]


@pytest.fixture
async def server() -> AsyncIterator[ConfigServerStub]:
    async with config_server() as stub:
        stub.say(FAULTY)
        yield stub


def settings(server: ConfigServerStub, **changes: object) -> dict[str, object]:
    return {
        "spring_config_import": f"optional:configserver:{server.url}",
        "config_server_refresh_seconds": 0,
        "management_token": TOKEN,
    } | changes


def break_it(server: ConfigServerStub, how: str) -> None:
    if how.isdigit():
        server.status = int(how)
    elif how == "placeholder":
        server.say({**routes("a"), f"{NEW}.routes[0].uri": "${nowhere}"})
    elif how == "not decrypted":
        server.say({**routes("a"), f"invalid.{JWT}issuer-uri": "<n/a>"})
    elif how == "encrypted":
        server.say({**routes("a"), f"{JWT}issuer-uri": "{cipher}AQB3"})
    elif how == "breaks off":
        server.breaks_off = True
    elif how == "malformed":
        server.body = json.dumps({"propertySources": [{"name": "x", "source": [1]}]}).encode()
    elif how != "faults":
        server.body = {"not JSON": b"<html>", "not a Config Server": b"{}"}[how]


def mend(server: ConfigServerStub, *sources: dict[str, Any]) -> None:
    server.status, server.body, server.breaks_off = 200, None, False
    server.say(*sources)


async def ids(gateway: Running) -> list[str]:
    listed = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    return [route["route_id"] for route in listed]


async def readiness(gateway: Running) -> tuple[int, Any]:
    answer = await gateway.nobody("GET", "/actuator/health/readiness")
    return answer.status, answer.json


async def until_ready(gateway: Running) -> None:
    async with asyncio.timeout(20):
        while (await readiness(gateway))[0] != 200:
            await asyncio.sleep(0.02)


async def refresh(gateway: Running) -> int:
    return (await gateway.with_token(TOKEN)("POST", "/actuator/refresh")).status


@pytest.mark.parametrize("how", UNUSABLE)
async def test_nothing_is_served_until_the_first_sound_answer(
    how: str, gateways: Gateways, server: ConfigServerStub
) -> None:
    break_it(server, how)
    gateway = await gateways.start(FILE, **settings(server))
    status, told = await readiness(gateway)
    assert (status, told["status"]) == (503, "OUT_OF_SERVICE")
    reason = told["components"]["configServer"]["details"]["reason"]
    assert {
        "faults": "routes[0].uri",
        "not JSON": "the answer is not JSON",
        "not a Config Server": "not that of a Config Server",
        "malformed": "a property source in the answer is malformed",
        "placeholder": "${nowhere} is not set",
        "not decrypted": f"the server could not decrypt '{JWT}issuer-uri'",
        "encrypted": f"the value of '{JWT}issuer-uri' is encrypted",
        "breaks off": "its answer breaks off",
    }.get(how, f"status {how}") in reason
    health = await gateway.nobody("GET", "/actuator/health")
    assert (health.status, health.json["status"]) == (503, "OUT_OF_SERVICE")
    component = health.json["components"]["configServer"]
    assert (component["status"], component["details"]["routes"]) == ("OUT_OF_SERVICE", "none")
    assert await ids(gateway) == []
    mend(server, routes("a"))
    await until_ready(gateway)  # by itself, although no interval is set
    assert await ids(gateway) == ["a"]
    ann = gateway.user("ann")
    assert (await ann.lineup()).json["state"] == "ALLOWED_IN"
    health = await gateway.nobody("GET", "/actuator/health")
    assert health.status == 200
    assert {health.json["components"][name]["status"] for name in ("configServer", "routes")} == {"UP"}


async def test_every_call_that_needs_the_configuration_is_refused_and_no_token_is_looked_at(
    gateways: Gateways, server: ConfigServerStub, redis: Client
) -> None:
    gateway = await gateways.start(FILE, **settings(server))
    ann = gateway.user("ann")
    for caller in (ann, gateway.nobody, gateway.with_token("nonsense")):
        for method, path in [
            ("GET", "/filed/open"),
            ("GET", "/filed/x"),
            ("POST", "/filed/gated"),
            ("GET", "/nowhere"),
            ("POST", "/api/v1/queue/lineup"),
            ("GET", "/api/v1/queue/status"),
            ("DELETE", "/api/v1/queue/waiting-token"),
        ]:
            answer = await caller(method, path)
            assert (answer.status, answer.code) == (503, "CONFIG_UNAVAILABLE"), path
            assert answer.headers["Retry-After"] == "5"
            assert "fields" not in answer.json["error"], "anyone may ask, and the reason is for operators"
    async with ann.stream() as stream:
        # As by a full instance, because an EventSource gives up on any other answer.
        assert (stream.status, (await stream.next()).retry > 0) == (200, True)  # type: ignore[union-attr, operator]
    for path in (
        "/actuator/info",
        "/actuator/prometheus",
        "/swagger-ui/index.html",
        "/actuator/health/liveness",
    ):
        assert (await gateway.nobody("GET", path)).status == 200, path
    assert gateways.service.seen == []
    assert await redis.keys("*") == [], "no room is written to, no sweep is taken from other instances"
    mend(server, routes("a"))
    await until_ready(gateway)
    assert (await gateway.user("ann").lineup(room="vip")).json["state"] == "ALLOWED_IN"


ROOM_CALLS = [
    ("GET", "/actuator/rooms/default"),
    ("GET", "/actuator/rooms/vip"),
    ("POST", "/actuator/rooms/default"),
    ("DELETE", "/actuator/rooms/default/users?id=ann"),
]


async def test_a_room_is_not_called_unknown_before_the_rooms_are_known(
    gateways: Gateways, server: ConfigServerStub, redis: Client
) -> None:
    gateway = await gateways.start(FILE, **settings(server, management_reads="token"))
    operator = gateway.with_token(TOKEN)
    for method, path in ROOM_CALLS:
        body = b'{"paused": true}' if method == "POST" else None
        answer = await operator(method, path, data=body)
        assert (answer.status, answer.code) == (503, "CONFIG_UNAVAILABLE"), (method, path)
        assert answer.headers["Retry-After"] == "5"
        # Who is an operator is known from the environment.
        assert (await gateway.nobody(method, path, data=body)).code == "TOKEN_REQUIRED", (method, path)
        assert (await gateway.user("ann")(method, path, data=body)).code == "TOKEN_INVALID", (method, path)
    assert await redis.keys("*") == []
    for path in ("/actuator", "/actuator/rooms", "/actuator/gateway/routes", "/actuator/metrics", "/metrics"):
        assert (await operator("GET", path)).status == 200, path
    assert (await operator("GET", "/actuator/health")).json["status"] == "OUT_OF_SERVICE"
    assert (await operator("POST", "/actuator/refresh")).code == "CONFIG_REFUSED"
    mend(server, routes("a"))
    assert (await operator("POST", "/actuator/refresh")).status == 200
    await until_ready(gateway)
    assert (await operator("GET", "/actuator/rooms/vip")).status == 200
    assert (await operator("POST", "/actuator/rooms/default", data=b'{"paused": true}')).status == 200
    assert (await operator("DELETE", "/actuator/rooms/default/users?id=ann")).code == "NOT_IN_QUEUE"
    assert (await operator("GET", "/actuator/rooms/other")).code == "ROOM_NOT_FOUND"


async def test_without_a_management_token_changes_of_rooms_do_not_exist_before_the_gateway_is_ready_either(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(FILE, **settings(server, management_token=""))
    assert (await gateway.nobody("GET", "/actuator/rooms/default")).code == "CONFIG_UNAVAILABLE"
    assert (await gateway.nobody("POST", "/actuator/rooms/default")).code == "ROUTE_NOT_FOUND"


async def test_tokens_are_checked_with_the_issuer_of_the_first_sound_answer(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(FILE, **settings(server))
    foreign, own = gateway.user("ann"), gateway.user("ann", iss="http://issuer")
    assert (await foreign("GET", "/a/x")).code == "CONFIG_UNAVAILABLE"
    mend(server, {**routes("a"), f"{JWT}issuer-uri": "http://issuer"})
    await until_ready(gateway)
    assert (await foreign.status()).code == "TOKEN_INVALID"
    assert (await own.status()).code == "NOT_IN_QUEUE"


async def test_a_changed_file_makes_no_gateway_ready(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await gateways.start(FILE, **settings(server))
    gateway.routes_file.write_text(gateway.routes_file.read_text().replace("filed", "changed"))
    assert await refresh(gateway) == 422
    gateway.app[ROUTE_SOURCES].discover(["orders"])
    assert (await readiness(gateway))[0] == 503
    assert await ids(gateway) == []
    mend(server, {f"{NEW}.default-filters": "SecureHeaders"})
    assert await refresh(gateway) == 200
    await until_ready(gateway)
    assert await ids(gateway) == ["changed"], "a sound answer without routes: the file's, as it is now"


async def test_a_server_that_has_nothing_for_this_gateway_is_done_without_at_once(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(FILE, **settings(server))
    mend(server)
    await until_ready(gateway)
    assert await ids(gateway) == ["filed"]
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert (health["status"], health["details"]["routes"]) == ("UNKNOWN", "file")


async def test_a_server_that_goes_away_makes_no_gateway_ready(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(FILE, **settings(server))
    server.status = 503
    assert await refresh(gateway) == 503
    assert (await readiness(gateway))[0] == 503
    assert await ids(gateway) == []


@pytest.mark.parametrize("how", UNUSABLE)
async def test_a_running_gateway_keeps_what_is_in_force(
    how: str, gateways: Gateways, server: ConfigServerStub
) -> None:
    mend(server, routes("a"))
    gateway = await gateways.start(FILE, **settings(server))
    mend(server, FAULTY)
    break_it(server, how)
    assert await refresh(gateway) in {422, 503}
    assert (await readiness(gateway))[0] == 200
    assert await ids(gateway) == ["a"]


async def test_the_reason_is_for_those_who_may_read(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await gateways.start(FILE, **settings(server, management_reads="token"))
    assert (await readiness(gateway)) == (503, {"status": "OUT_OF_SERVICE"})
    told = await gateway.with_token(TOKEN)("GET", "/actuator/health/readiness")
    assert "routes[0].uri" in told.body.decode()


async def test_others_hear_of_a_gateway_in_eureka_once_it_is_ready(
    server: ConfigServerStub, tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "routes.yaml").write_text(FILE % {"service": "http://127.0.0.1:1"})
    async with serving(Issuer()) as keys, fake_eureka() as eureka:
        environ = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": eureka.url,
            "SPRING_CONFIG_IMPORT": f"optional:configserver:{server.url}",
        }
        async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
            async with session.get(f"{gateway.base}/actuator/health/readiness") as response:
                assert response.status == 503
            assert any("not ready, and nothing is served" in line for line in gateway.lines)
            assert eureka.bodies == []
            mend(server, routes("a"))
            async with asyncio.timeout(20):
                await eureka.until("POST")
            assert eureka.bodies[0]["status"] == "UP"
            async with session.get(f"{gateway.base}/actuator/health/readiness") as response:
                assert response.status == 200
