"""The ticketing services of the demo."""

from __future__ import annotations

import random

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from gateway.demo.services import Business, Hall, payments_app, products_app, reservations_app, seats_app
from gateway.demo.witness import Witness

ANN = {"X-User-Id": "ann", "X-User-Type": "CUSTOMER"}
BOB = {"X-User-Id": "bob", "X-User-Type": "CUSTOMER"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hall(clock: Clock) -> Hall:
    return Hall(3, hold_seconds=10.0, clock=clock)


@pytest.fixture
def business(hall: Hall) -> Business:
    return Business(hall, Witness(6.0), random.Random(1))


# --- the hall ---


def test_a_seat_is_held_by_one_user_at_a_time(hall: Hall) -> None:
    assert hall.hold(1, "ann")
    assert not hall.hold(1, "bob")
    assert hall.hold(1, "ann")
    assert hall.free() == [2, 3]


def test_a_hold_ends_by_itself(hall: Hall, clock: Clock) -> None:
    hall.hold(1, "ann")
    clock.now += 10.0
    assert hall.hold(1, "bob")
    assert not hall.sell(1, "ann")


def test_a_seat_is_sold_once_and_only_to_its_holder(hall: Hall, clock: Clock) -> None:
    hall.hold(1, "ann")
    assert not hall.sell(1, "bob")
    assert hall.sell(1, "ann")
    assert not hall.sell(1, "ann")
    clock.now += 60.0
    assert not hall.hold(1, "ann")
    assert (hall.sold, hall.free()) == (1, [2, 3])


@pytest.mark.parametrize("seat", [0, 4, -1])
def test_there_are_no_other_seats(hall: Hall, seat: int) -> None:
    assert not hall.hold(seat, "ann")


# --- the services ---


async def test_products_are_open_to_everybody(aiohttp_client: AiohttpClient, business: Business) -> None:
    client: TestClient = await aiohttp_client(products_app(business))
    async with client.get("/api/v1/products") as response:
        assert [one["id"] for one in await response.json()] == ["1"]
    async with client.get("/api/v1/products/1") as response:
        answer = await response.json()
        assert answer["seatsLeft"] == 3
        assert sorted(answer["freeSeats"]) == [1, 2, 3]
    async with client.get("/api/v1/products/2") as response:
        assert response.status == 404


async def test_a_taken_seat_is_answered_as_sold_out(
    aiohttp_client: AiohttpClient, business: Business
) -> None:
    client: TestClient = await aiohttp_client(seats_app(business))
    async with client.post("/api/v1/reservation-seats/1", headers=ANN) as response:
        assert (response.status, await response.json()) == (200, {"seat": 1, "userId": "ann"})
    async with client.post("/api/v1/reservation-seats/1", headers=BOB) as response:
        assert (response.status, await response.json()) == (409, {"code": "SOLD_OUT", "userId": "bob"})
    async with client.post("/api/v1/reservation-seats/x", headers=BOB) as response:
        assert response.status == 409


async def test_reserving_and_paying_sells_the_seat(aiohttp_client: AiohttpClient, business: Business) -> None:
    business.hall.hold(2, "ann")
    reservations: TestClient = await aiohttp_client(reservations_app(business))
    payments: TestClient = await aiohttp_client(payments_app(business))
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
    assert business.hall.sold == 1


@pytest.mark.parametrize("headers", [[], [("X-User-Id", "")], [("X-User-Id", "a"), ("X-User-Id", "b")]])
async def test_a_request_without_exactly_one_user_is_refused_and_witnessed(
    aiohttp_client: AiohttpClient, business: Business, headers: list[tuple[str, str]]
) -> None:
    client: TestClient = await aiohttp_client(seats_app(business))
    async with client.post("/api/v1/reservation-seats/1", headers=headers) as response:
        assert response.status == 500
    assert business.witness.nameless == 1


async def test_gated_services_tell_the_witness(aiohttp_client: AiohttpClient, business: Business) -> None:
    client: TestClient = await aiohttp_client(seats_app(business))
    async with client.post("/api/v1/reservation-seats/1", headers=ANN):
        pass
    assert business.witness.requests == 1
