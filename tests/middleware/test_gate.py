"""The gate and the way behind it, over real HTTP with a real service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.auth.identity import signature
from tests.support.gateway import Gateways
from tests.support.redis_server import StartRedis

GATED = [
    ("POST", "/api/v1/reservations"),
    ("POST", "/api/v1/reservations/"),
    ("POST", "/API/v1/Reservations"),
    ("POST", "/api/v1/reservation-seats/17"),
    ("POST", "/shop/reservations"),
    ("POST", "/shop/reservation-seats/17/"),
    ("POST", "/api/v1/reserv%61tions"),
]


@pytest.mark.parametrize(("method", "path"), GATED)
async def test_no_way_leads_round_the_gate(gateways: Gateways, method: str, path: str) -> None:
    gateway = await gateways.start()
    answer = await gateway.user("stranger")(method, path)
    assert answer.status in {403, 404}, path
    if answer.status == 404:
        assert answer.code == "ROUTE_NOT_FOUND"
    else:
        assert answer.code == "NOT_IN_QUEUE"
    assert gateways.service.seen == []


async def test_the_gate_answers_admitted_waiting_and_unknown_users_accordingly(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_status_interval_seconds=7)
    inside, waiting, stranger = (gateway.user(name) for name in ("inside", "waiting", "stranger"))
    await inside.lineup()
    await waiting.lineup()
    assert (await inside("POST", "/api/v1/reservations", json={"seat": 1})).status == 200
    refused = await waiting("POST", "/api/v1/reservations")
    assert (refused.status, refused.code) == (429, "QUEUE_WAITING")
    assert refused.json["success"] is False
    assert refused.json["state"] == "WAITING"
    assert refused.json["data"]["userQueuePosition"] == 1
    assert refused.headers["Retry-After"] == "7"
    refused = await stranger("POST", "/api/v1/reservations")
    assert (refused.status, refused.code) == (403, "NOT_IN_QUEUE")
    refused = await gateway.nobody("POST", "/api/v1/reservations")
    assert (refused.status, refused.code) == (401, "TOKEN_REQUIRED")
    assert [seen["target"] for seen in gateways.service.seen] == ["/api/v1/reservations"]


async def test_a_gated_request_renews_the_session(gateways: Gateways) -> None:
    gateway = await gateways.start(allowed_in_duration_seconds=1.2)
    user = gateway.user("inside")
    await user.lineup()
    for _ in range(4):
        await asyncio.sleep(0.5)
        assert (await user("POST", "/api/v1/reservations")).status == 200
    await asyncio.sleep(1.3)
    refused = await user("POST", "/api/v1/reservations")
    assert (refused.status, refused.code) == (403, "NOT_IN_QUEUE")


async def test_ungated_calls_need_a_token_but_no_place(gateways: Gateways) -> None:
    gateway = await gateways.start()
    assert (await gateway.user("stranger")("GET", "/api/v1/reservations")).status == 200
    assert (await gateway.nobody("GET", "/api/v1/reservations")).status == 401
    assert (await gateway.nobody("GET", "/api/v1/products")).status == 200
    assert (await gateway.nobody("POST", "/api/v1/products")).status == 401


async def test_renewing_calls_need_no_place(gateways: Gateways) -> None:
    routes = """
routes:
  - {id: all, uri: "%(service)s", predicates: ["Path=/**"]}
gates:
  - room: default
    calls: [POST /buy]
    renews: [GET /cart]
"""
    gateway = await gateways.start(routes, allowed_in_duration_seconds=1.2)
    user = gateway.user("inside")
    assert (await gateway.user("stranger")("GET", "/cart")).status == 200
    await user.lineup()
    for _ in range(3):
        await asyncio.sleep(0.5)
        assert (await user("GET", "/cart")).status == 200
    assert (await user("POST", "/buy")).status == 200


async def test_identity_comes_from_the_token_alone(gateways: Gateways) -> None:
    gateway = await gateways.start()
    forged = {
        "X-User-Id": "admin",
        "x_user_id": "admin",
        "X.User.Type": "ADMIN",
        "X-HTTP-Method-Override": "DELETE",
        "X-Forwarded-For": "1.2.3.4",
        "Connection": "X-User-Id",
    }
    await gateway.user("somebody")("GET", "/api/v1/reservations", headers=forged)
    headers = {name.lower(): value for name, value in gateways.service.seen[-1]["headers"]}
    assert headers["x-user-id"] == "somebody"
    assert headers["x-user-type"] == "USER"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert not {"x_user_id", "x.user.type", "x-http-method-override"} & set(headers)
    await gateway.nobody("GET", "/api/v1/products", headers=forged)
    assert not any(
        "user" in name.lower() for name, _ in gateways.service.seen[-1]["headers"] if name != "User-Agent"
    )


async def test_a_service_can_tell_that_a_request_came_through_the_gateway(gateways: Gateways) -> None:
    gateway = await gateways.start(identity_hmac_secret="a-secret-of-the-test")
    await gateway.user("somebody")("GET", "/shop/reservations?x=1")
    seen = gateways.service.seen[-1]
    header = dict(seen["headers"])["X-Gateway-Signature"]
    stamp, _, value = header.removeprefix("t=").partition(",v1=")
    expected = signature("a-secret-of-the-test", int(stamp), "GET", seen["target"], "somebody", "USER")
    assert value == expected


@pytest.mark.parametrize(
    "target",
    ["//api/v1/products", "/api/v1/./products", "/api/v1/%2e%2e/x", "/api/v1/products%2Fx", "/a;b", "/%00"],
)
async def test_what_is_ambiguous_is_refused(gateways: Gateways, target: str) -> None:
    gateway = await gateways.start()
    host, port = gateway.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"BAD_REQUEST"' in answer
    assert gateways.service.seen == []


async def test_failures_of_services_are_told_in_the_envelope(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("someone")
    for path, status, code in [
        ("/nobody/x", 503, "NO_INSTANCE"),
        ("/refusing/x", 502, "UPSTREAM_UNREACHABLE"),
        ("/nowhere", 404, "ROUTE_NOT_FOUND"),
    ]:
        answer = await user("GET", path)
        assert (answer.status, answer.code) == (status, code)
        assert "127.0.0.1:1" not in answer.body.decode()


async def test_without_redis_gated_calls_are_refused_and_others_served(
    tmp_path: Path, start_redis: StartRedis
) -> None:
    server = start_redis()
    async with Gateways(tmp_path, server.url) as gateways:
        strict = await gateways.start(redis_timeout_seconds=0.5)
        lenient = await gateways.start(redis_timeout_seconds=0.5, queue_fail_open="true")
        user = strict.user("someone")
        assert (await user.lineup()).status == 200
        server.kill()
        refused = await user("POST", "/api/v1/reservations")
        assert (refused.status, refused.code) == (503, "QUEUE_UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await user("GET", "/api/v1/products")).status == 200
        assert (await user.status()).code == "QUEUE_UNAVAILABLE"
        assert (await lenient.user("someone")("POST", "/api/v1/reservations")).status == 200
        health = await strict.nobody("GET", "/actuator/health")
        assert health.status == 200
        assert health.json["components"]["redis"]["status"] != "UP"
        server.start()
        async with asyncio.timeout(10):
            while (await user.status()).status == 503:
                await asyncio.sleep(0.05)


async def test_a_user_id_of_any_kind_passes_unharmed(gateways: Gateways) -> None:
    gateway = await gateways.start()
    name = 'ün"{icode} 대기'
    user = gateway.user(name)
    assert (await user.lineup()).status == 200
    assert (await user("POST", "/api/v1/reservations")).status == 200
    assert (
        dict(gateways.service.seen[-1]["headers"])["X-User-Id"].encode("utf-8", "surrogateescape").decode()
        == name
    )
