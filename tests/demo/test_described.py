"""What the demo's services say of themselves."""

from __future__ import annotations

import random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from gateway.demo.auth import Accounts, Signer, make_app
from gateway.demo.described import described
from gateway.demo.services import Business, Hall
from gateway.demo.stage import SERVICES
from gateway.demo.witness import Witness


def apps() -> dict[str, web.Application]:
    business = Business(Hall(3, hold_seconds=10.0), Witness(6.0), random.Random(1))
    made = {name: make(business) for name, make in SERVICES.items()}
    return made | {"auth-service": make_app(Accounts(Signer()))}


@pytest.mark.parametrize("name", [*SERVICES, "auth-service"])
async def test_every_service_describes_all_of_its_calls(aiohttp_client: AiohttpClient, name: str) -> None:
    app = apps()[name]
    calls = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    client: TestClient = await aiohttp_client(app)
    async with client.get("/v3/api-docs") as response:
        document = await response.json()
    assert document["info"]["title"] == name
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert found == {(method, path) for method, path in calls if method != "HEAD" and path != "/v3/api-docs"}
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert all(operation["summary"] for operation in operations)


async def test_paths_bodies_and_the_services_own_address_are_told(aiohttp_client: AiohttpClient) -> None:
    async def change(_request: web.Request) -> web.Response:
        """Change it."""
        return web.Response()

    app = web.Application()
    app.router.add_post("/things/{id}", change)
    client: TestClient = await aiohttp_client(described(app, "things", {"/things/{id}": {"colour": "red"}}))
    async with client.get("/v3/api-docs") as response:
        document = await response.json()
    operation = document["paths"]["/things/{id}"]["post"]
    assert operation["summary"] == "Change it."
    assert operation["parameters"][0]["name"] == "id"
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"colour": "red"}
    assert document["servers"][0]["url"] == str(client.make_url("")).rstrip("/")
