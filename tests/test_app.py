"""The application as an aiohttp engineer starts it: with pytest-aiohttp's client, on aiohttp's own server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from gateway.app import create_app, create_management_app
from gateway.context import CONFIGURATION, ROOMS
from tests.support.gateway import ROUTES, Gateways, settings_for
from tests.support.tokens import Issuer

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(gateways: Gateways, aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    """A gateway on aiohttp's own server."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES % {"service": gateways.service.url}, encoding="utf-8")
    app = create_app(settings_for(gateways.redis_url, gateways.keys.uri, routes), {})
    started = await aiohttp_client(app)
    await app[ROOMS].subscription.listening.wait()
    return started


def bearer(issuer: Issuer, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token(user)}"}


async def test_calls_of_the_gateways_own_and_of_services_are_answered(
    client: Client, gateways: Gateways
) -> None:
    ann = bearer(gateways.issuer, "ann")
    async with client.post("/api/v1/queue/lineup", headers=ann) as answer:
        assert (answer.status, (await answer.json())["state"]) == (200, "ALLOWED_IN")
    async with client.post("/api/v1/reservations", headers=ann, data=b"seat 1") as answer:
        assert answer.status == 200
    async with client.get("/api/v1/products") as answer:
        assert answer.status == 200
    async with client.post("/api/v1/reservations", headers=bearer(gateways.issuer, "bob")) as answer:
        assert (await answer.json())["error"]["code"] == "NOT_IN_QUEUE"
    assert [each["body"] for each in gateways.service.seen] == ["seat 1", ""]


async def test_a_stream_tells_of_the_admission(client: Client, gateways: Gateways) -> None:
    ann, bob = bearer(gateways.issuer, "ann"), bearer(gateways.issuer, "bob")
    for user in (ann, bob):
        await client.post("/api/v1/queue/lineup", headers=user)
    async with client.get("/api/v1/queue/stream", headers=bob) as stream, asyncio.timeout(10):
        assert b"STATUS_UPDATE" in await stream.content.readuntil(b"\n\n")
        await client.delete("/api/v1/queue/allowed-in-token", headers=ann)
        assert b"ALLOWED_IN" in await stream.content.readuntil(b"\n\n")


async def test_a_body_is_asked_for_only_where_it_is_read(client: Client, gateways: Gateways) -> None:
    async with client.post("/api/v1/reservations", data=b"x", expect100=True) as answer:
        assert answer.status == 401
    async with client.put(
        "/api/v1/products/1", data=b"x", expect100=True, headers=bearer(gateways.issuer, "ann")
    ) as answer:
        assert answer.status == 200


async def test_the_management_application_shares_the_resources(
    gateways: Gateways, aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES % {"service": gateways.service.url}, encoding="utf-8")
    settings = settings_for(gateways.redis_url, gateways.keys.uri, routes, management_server_port=0)
    app = create_app(settings, {})
    public = await aiohttp_client(app)
    management = create_management_app(app)
    operators = await aiohttp_client(management)
    assert management[CONFIGURATION] is app[CONFIGURATION]
    assert (await operators.get("/actuator/health")).status == 200
    assert (await public.get("/actuator/health")).status == 404
    assert (await operators.get("/api/v1/products")).status == 404


async def test_a_start_that_fails_says_why_and_leaves_nothing(
    gateways: Gateways, aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes: [{id: broken}]", encoding="utf-8")
    app = create_app(settings_for(gateways.redis_url, gateways.keys.uri, routes), {})
    runner = web.AppRunner(app)
    tasks = asyncio.all_tasks()
    with pytest.raises(Exception, match="broken"):
        await runner.setup()
    await runner.cleanup()
    assert asyncio.all_tasks() <= tasks


def names(app: web.Application) -> list[Any]:
    return [each.__name__ for each in app.middlewares]


async def test_the_middlewares_stand_in_their_order(client: Client) -> None:
    assert client.app is not None
    assert names(client.app) == [
        *("access_log", "errors", "resolve", "cors", "overload", "authentication", "gate")
    ]
