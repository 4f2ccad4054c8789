"""The services of the demo: auth, ticketing, and their descriptions."""

from __future__ import annotations

import random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from jose import jwt
from pytest_aiohttp.plugin import AiohttpClient

from gateway.demo.deployment import SERVICES
from gateway.demo.inference import Occupancy
from gateway.demo.services import (
    PASSWORD,
    Account,
    Accounts,
    Backend,
    SeatInventory,
    Signer,
    add_openapi,
    auth_app,
    payments_app,
    products_app,
    reservations_app,
    seats_app,
)
from tests.support.clock import Clock


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def auth_client(aiohttp_client: AiohttpClient, signer: Signer) -> TestClient:
    accounts = Accounts(signer)
    accounts.add(Account("a@demo.example", PASSWORD, "person-1", "CUSTOMER"))
    return await aiohttp_client(auth_app(accounts))


def test_a_token_is_what_a_jwt_library_accepts_under_the_published_key(signer: Signer) -> None:
    token = signer.token("person-1", "CUSTOMER")
    claims = jwt.decode(token, signer.jwks(), algorithms=["RS256"])
    assert (claims["sub"], claims["userType"], claims["exp"] - claims["iat"]) == (
        "person-1",
        "CUSTOMER",
        3600,
    )
    assert jwt.get_unverified_header(token)["kid"] == signer.jwks()["keys"][0]["kid"]


async def test_the_key_set_has_no_private_part(auth_client: TestClient) -> None:
    async with auth_client.get("/.well-known/jwks.json") as response:
        assert set((await response.json())["keys"][0]) == {"kty", "use", "alg", "kid", "n", "e"}


async def test_logging_in_brings_tokens(auth_client: TestClient, signer: Signer) -> None:
    body = {"email": "a@demo.example", "password": PASSWORD}
    async with auth_client.post("/api/v1/auth/login", json=body) as response:
        assert response.status == 200
        answer = await response.json()
    assert jwt.decode(answer["accessToken"], signer.jwks(), algorithms=["RS256"])["sub"] == "person-1"


@pytest.mark.parametrize(
    "body", [{"email": "a@demo.example", "password": "?"}, {"email": "b@demo.example"}, [], None]
)
async def test_a_wrong_login_is_refused(auth_client: TestClient, body: object) -> None:
    async with auth_client.post("/api/v1/auth/login", json=body) as response:
        assert response.status == 401


async def test_a_refresh_token_works_once(auth_client: TestClient) -> None:
    body = {"email": "a@demo.example", "password": PASSWORD}
    async with auth_client.post("/api/v1/auth/login", json=body) as response:
        refresh = {"refreshToken": (await response.json())["refreshToken"]}
    async with auth_client.post("/api/v1/auth/refresh", json=refresh) as response:
        assert response.status == 200
    async with auth_client.post("/api/v1/auth/refresh", json=refresh) as response:
        assert response.status == 401


async def test_registering_makes_an_account_once(auth_client: TestClient, signer: Signer) -> None:
    body = {"email": "new@demo.example", "password": "secret"}
    async with auth_client.post("/api/v1/auth/register", json=body) as response:
        assert response.status == 201
        claims = jwt.decode((await response.json())["accessToken"], signer.jwks(), algorithms=["RS256"])
        assert claims["userType"] == "GUEST"
    async with auth_client.post("/api/v1/auth/login", json=body) as response:
        assert response.status == 200
    async with auth_client.post("/api/v1/auth/register", json=body) as response:
        assert response.status == 409
    async with auth_client.post("/api/v1/auth/register", json={}) as response:
        assert response.status == 400


ANN = {"X-User-Id": "ann", "X-User-Type": "CUSTOMER"}
BOB = {"X-User-Id": "bob", "X-User-Type": "CUSTOMER"}


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def inventory(clock: Clock) -> SeatInventory:
    return SeatInventory(3, hold_seconds=10.0, clock=clock)


@pytest.fixture
def backend(inventory: SeatInventory) -> Backend:
    return Backend(inventory, Occupancy(6.0), random.Random(1))


# --- the hall ---


def test_a_seat_is_held_by_one_user_at_a_time(inventory: SeatInventory) -> None:
    assert inventory.hold(1, "ann")
    assert not inventory.hold(1, "bob")
    assert inventory.hold(1, "ann")
    assert inventory.free() == [2, 3]


def test_a_hold_ends_by_itself(inventory: SeatInventory, clock: Clock) -> None:
    inventory.hold(1, "ann")
    clock.now += 10.0
    assert inventory.hold(1, "bob")
    assert not inventory.sell(1, "ann")


def test_a_seat_is_sold_once_and_only_to_its_holder(inventory: SeatInventory, clock: Clock) -> None:
    inventory.hold(1, "ann")
    assert not inventory.sell(1, "bob")
    assert inventory.sell(1, "ann")
    assert not inventory.sell(1, "ann")
    clock.now += 60.0
    assert not inventory.hold(1, "ann")
    assert (inventory.sold, inventory.free()) == (1, [2, 3])


@pytest.mark.parametrize("seat", [0, 4, -1])
def test_there_are_no_other_seats(inventory: SeatInventory, seat: int) -> None:
    assert not inventory.hold(seat, "ann")


# --- the services ---


async def test_products_need_no_user(aiohttp_client: AiohttpClient, backend: Backend) -> None:
    client: TestClient = await aiohttp_client(products_app(backend))
    async with client.get("/api/v1/products") as response:
        assert [one["id"] for one in await response.json()] == ["1"]
    async with client.get("/api/v1/products/1") as response:
        answer = await response.json()
        assert answer["seatsLeft"] == 3
        assert sorted(answer["freeSeats"]) == [1, 2, 3]
    async with client.get("/api/v1/products/2") as response:
        assert response.status == 404


async def test_a_taken_seat_is_answered_as_sold_out(aiohttp_client: AiohttpClient, backend: Backend) -> None:
    client: TestClient = await aiohttp_client(seats_app(backend))
    async with client.post("/api/v1/reservation-seats/1", headers=ANN) as response:
        assert (response.status, await response.json()) == (200, {"seat": 1, "userId": "ann"})
    async with client.post("/api/v1/reservation-seats/1", headers=BOB) as response:
        assert (response.status, await response.json()) == (409, {"code": "SOLD_OUT", "userId": "bob"})
    async with client.post("/api/v1/reservation-seats/x", headers=BOB) as response:
        assert response.status == 409


async def test_reserving_and_paying_sells_the_seat(aiohttp_client: AiohttpClient, backend: Backend) -> None:
    backend.inventory.hold(2, "ann")
    reservations: TestClient = await aiohttp_client(reservations_app(backend))
    payments: TestClient = await aiohttp_client(payments_app(backend))
    async with reservations.post("/api/v1/reservations", json={"seat": 2}, headers=BOB) as response:
        assert response.status == 409
    async with reservations.post("/api/v1/reservations", data=b"?", headers=ANN) as response:
        assert response.status == 409
    async with reservations.post("/api/v1/reservations", json={"seat": 2}, headers=ANN) as response:
        assert response.status == 201
        reserved = {"reservationId": (await response.json())["reservationId"]}
    async with payments.post("/api/v1/payments", json=reserved, headers=BOB) as response:
        assert response.status == 409
    async with payments.post("/api/v1/payments", json=reserved, headers=ANN) as response:
        assert response.status == 201
    assert backend.inventory.sold == 1


@pytest.mark.parametrize("headers", [[], [("X-User-Id", "")], [("X-User-Id", "a"), ("X-User-Id", "b")]])
async def test_a_request_without_exactly_one_user_is_refused_and_counted(
    aiohttp_client: AiohttpClient, backend: Backend, headers: list[tuple[str, str]]
) -> None:
    client: TestClient = await aiohttp_client(seats_app(backend))
    async with client.post("/api/v1/reservation-seats/1", headers=headers) as response:
        assert response.status == 500
    assert backend.occupancy.without_user == 1


async def test_gated_services_record_the_occupancy(aiohttp_client: AiohttpClient, backend: Backend) -> None:
    client: TestClient = await aiohttp_client(seats_app(backend))
    for _ in range(2):
        async with client.post("/api/v1/reservation-seats/1", headers=ANN):
            pass
    assert backend.occupancy.peak() == 1


def apps() -> dict[str, web.Application]:
    backend = Backend(SeatInventory(3, hold_seconds=10.0), Occupancy(6.0), random.Random(1))
    made = {name: make(backend) for name, make in SERVICES.items()}
    return made | {"auth-service": auth_app(Accounts(Signer()))}


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
    client: TestClient = await aiohttp_client(add_openapi(app, "things", {"/things/{id}": {"colour": "red"}}))
    async with client.get("/v3/api-docs") as response:
        document = await response.json()
    operation = document["paths"]["/things/{id}"]["post"]
    assert operation["summary"] == "Change it."
    assert operation["parameters"][0]["name"] == "id"
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"colour": "red"}
    assert document["servers"][0]["url"] == str(client.make_url("")).rstrip("/")
