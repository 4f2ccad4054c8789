"""The ticketing services behind the gateway: a hall, one concert, and every seat sold at most once.

Each is an application of its own. They know the caller by ``X-User-Id`` alone, as services behind a gateway
do, and they say in each answer whom they saw, so that a client can compare.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from gateway.demo.described import described
from gateway.demo.witness import Witness

FREE_SHOWN = 8


@dataclass(slots=True)
class Hall:
    """Seats 1 to ``seats``: free, held until a time, or sold. Times are seconds of ``clock``."""

    seats: int
    hold_seconds: float
    clock: Callable[[], float] = time.monotonic
    _held: dict[int, tuple[str, float]] = field(default_factory=dict)
    _sold: dict[int, str] = field(default_factory=dict)

    def _holder(self, seat: int) -> str | None:
        if seat in self._sold:
            return self._sold[seat]
        user, until = self._held.get(seat, ("", 0.0))
        return user if until > self.clock() else None

    def hold(self, seat: int, user: str) -> bool:
        """Hold ``seat`` for ``user``; False if it is not there to be had."""
        if not 1 <= seat <= self.seats or self._holder(seat) not in (None, user) or seat in self._sold:
            return False
        self._held[seat] = (user, self.clock() + self.hold_seconds)
        return True

    def sell(self, seat: int, user: str) -> bool:
        """Sell ``seat`` to ``user``, who must still hold it."""
        if self._holder(seat) != user or seat in self._sold:
            return False
        self._sold[seat] = user
        return True

    def free(self) -> list[int]:
        """The seats anybody could hold now."""
        return [seat for seat in range(1, self.seats + 1) if self._holder(seat) is None]

    @property
    def sold(self) -> int:
        """How many seats are paid for."""
        return len(self._sold)


@dataclass(slots=True)
class Business:
    """What the four services share: the hall, open reservations, the witness and a seeded slowness."""

    hall: Hall
    witness: Witness
    rng: random.Random
    reservations: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def work(self) -> None:
        """Take a few milliseconds, as a service with a database would."""
        await asyncio.sleep(self.rng.uniform(0.002, 0.015))

    def caller(self, request: web.Request) -> str:
        """The user the gateway vouches for; 500 if it names none or several, and the witness counts it."""
        users = request.headers.getall("X-User-Id", [])
        if len(users) != 1 or not users[0]:
            self.witness.no_name()
            raise web.HTTPInternalServerError(text="no X-User-Id: this did not come through the gateway")
        return users[0]

    def gated_caller(self, request: web.Request) -> str:
        """Like :meth:`caller`, for calls that only people who are in may make."""
        user = self.caller(request)
        self.witness.gated(user, request.headers.get("X-User-Type", ""), time.monotonic())
        return user


async def _body(request: web.Request) -> Mapping[str, object]:
    """The JSON object sent; nothing if it is none, or if the gateway broke off because its client did."""
    try:
        body = await request.json()
    except (ValueError, ConnectionError):
        return {}
    return body if isinstance(body, Mapping) else {}


def products_app(business: Business) -> web.Application:
    """product-service: what is on sale, open to everybody."""

    def concert() -> dict[str, object]:
        free = business.hall.free()
        business.rng.shuffle(free)
        return {"id": "1", "title": "One night only", "seatsLeft": len(free), "freeSeats": free[:FREE_SHOWN]}

    async def listing(_request: web.Request) -> web.Response:
        """Everything that is on sale."""
        await business.work()
        return web.json_response([concert()])

    async def one(request: web.Request) -> web.Response:
        """One product; there is only number 1."""
        await business.work()
        if request.match_info["id"] != "1":
            return web.json_response({"code": "NO_SUCH_PRODUCT"}, status=404)
        return web.json_response(concert())

    app = web.Application()
    app.router.add_get("/api/v1/products", listing)
    app.router.add_get("/api/v1/products/{id}", one)
    return described(app, "product-service")


def seats_app(business: Business) -> web.Application:
    """reservation-seat-service: hold a seat, first come first served."""

    async def hold(request: web.Request) -> web.Response:
        """Hold a seat: first come, first served."""
        user = business.gated_caller(request)
        await business.work()
        seat = request.match_info["id"]
        if not seat.isdecimal() or not business.hall.hold(int(seat), user):
            return web.json_response({"code": "SOLD_OUT", "userId": user}, status=409)
        return web.json_response({"seat": int(seat), "userId": user})

    app = web.Application()
    app.router.add_post("/api/v1/reservation-seats/{id}", hold)
    return described(app, "reservation-seat-service")


def reservations_app(business: Business) -> web.Application:
    """reservation-service: turn a held seat into a reservation to pay."""

    async def reserve(request: web.Request) -> web.Response:
        """Reserve the seat one holds."""
        user = business.gated_caller(request)
        await business.work()
        seat = (await _body(request)).get("seat")
        # Holding anew both checks that the seat is this user's and keeps it until it is paid.
        if not isinstance(seat, int) or not business.hall.hold(seat, user):
            return web.json_response({"code": "SEAT_NOT_HELD", "userId": user}, status=409)
        number = f"R{next(business.numbers)}"
        business.reservations[number] = (user, seat)
        return web.json_response({"reservationId": number, "seat": seat, "userId": user}, status=201)

    app = web.Application()
    app.router.add_post("/api/v1/reservations", reserve)
    return described(app, "reservation-service", {"/api/v1/reservations": {"seat": 7}})


def payments_app(business: Business) -> web.Application:
    """payment-service: pay one's own reservation. Not gated: paying must not fail for a session's end."""

    async def pay(request: web.Request) -> web.Response:
        """Pay one's own reservation."""
        user = business.caller(request)
        await business.work()
        number = str((await _body(request)).get("reservationId", ""))
        owner, seat = business.reservations.get(number, ("", 0))
        if owner != user or not business.hall.sell(seat, user):
            return web.json_response({"code": "NOT_PAYABLE", "userId": user}, status=409)
        return web.json_response({"reservationId": number, "seat": seat, "userId": user}, status=201)

    app = web.Application()
    app.router.add_post("/api/v1/payments", pay)
    return described(app, "payment-service", {"/api/v1/payments": {"reservationId": "R1"}})
