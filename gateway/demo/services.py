"""The services behind the gateway: an auth service, and four that sell the seats of one concert.

Each is an aiohttp application of its own. The ticketing services know the caller by ``X-User-Id`` alone, as services
behind a gateway do. Each response names the user whom the service saw, so that the client can compare. The auth service
signs tokens with ``cryptography`` itself, independently of the gateway's code that verifies them.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import itertools
import json
import random
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.demo.inference import Occupancy

ACCESS_SECONDS = 3600
PASSWORD = "demo"
FREE_SHOWN = 8

ExampleBodies = Mapping[str, Mapping[str, object]]


def add_openapi(app: web.Application, title: str, bodies: ExampleBodies | None = None) -> web.Application:
    """Add ``/v3/api-docs`` to ``app``, made of its routes, as springdoc makes it for a Spring service.

    ``bodies``: examples of request bodies by path. The docstring of a handler becomes the call's summary.
    """
    paths = _paths(app, bodies or {})

    async def document(request: web.Request) -> web.Response:
        return web.json_response(
            {
                "openapi": "3.1.0",
                "info": {"title": title, "version": "demo"},
                # As services do: the address is their own, which users cannot reach.
                "servers": [{"url": str(request.url.origin()), "description": "Generated server url"}],
                "security": [{}, {"token": []}],
                "paths": paths,
                "components": {
                    "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
                },
            }
        )

    app.router.add_get("/v3/api-docs", document)
    return app


def _paths(app: web.Application, bodies: ExampleBodies) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for route in app.router.routes():
        if route.method == "HEAD" or route.resource is None:
            continue
        path = route.resource.canonical
        operation: dict[str, Any] = {
            "summary": inspect.getdoc(route.handler) or "",
            "responses": {"default": {"description": "JSON", "content": {"application/json": {}}}},
        }
        if names := re.findall(r"{(\w+)}", path):
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
        if path in bodies:
            operation["requestBody"] = {"content": {"application/json": {"example": bodies[path]}}}
        paths.setdefault(path, {})[route.method.lower()] = operation
    return paths


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _b64_number(number: int) -> str:
    return _b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _compact_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Signer:
    """One RSA key, made at start: signs access tokens and publishes its public half."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = secrets.token_hex(4)

    def token(self, subject: str, user_type: str, *, seconds: float = ACCESS_SECONDS) -> str:
        """A compact JWT (RS256) for ``subject``, valid for ``seconds`` from now."""
        now = int(time.time())
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid}
        claims = {"sub": subject, "userType": user_type, "iat": now, "exp": now + int(seconds)}
        signed = f"{_b64(_compact_json(head))}.{_b64(_compact_json(claims))}"
        signature = self._key.sign(signed.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_b64(signature)}"

    def jwks(self) -> dict[str, Any]:
        """The JWKS document with the one public key."""
        public = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid}
        return {"keys": [key | {"n": _b64_number(public.n), "e": _b64_number(public.e)}]}


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may log in. ``user_type`` reaches the services as X-User-Type."""

    email: str
    password: str
    user_id: str
    user_type: str


@dataclass(slots=True)
class Accounts:
    """The accounts, and the refresh tokens given out, in memory."""

    signer: Signer
    by_email: dict[str, Account] = field(default_factory=dict)
    refreshable: dict[str, Account] = field(default_factory=dict)

    def add(self, account: Account) -> None:
        """Make ``account`` known, or replace the one with its e-mail address."""
        self.by_email[account.email] = account

    def grant(self, account: Account) -> dict[str, Any]:
        """A new pair of tokens, as the body of the auth service's response."""
        refresh = secrets.token_urlsafe(24)
        self.refreshable[refresh] = account
        return {
            "accessToken": self.signer.token(account.user_id, account.user_type),
            "refreshToken": refresh,
            "expiresIn": ACCESS_SECONDS,
            "userId": account.user_id,
        }


def _refusal(status: int, code: str) -> web.Response:
    return web.json_response({"code": code}, status=status)


async def _body(request: web.Request) -> Mapping[str, object]:
    """The JSON object that was sent; empty if it is none, or if the gateway closed the connection with its client's."""
    try:
        body = await request.json()
    except (ValueError, ConnectionError):
        return {}
    return body if isinstance(body, Mapping) else {}


def auth_app(accounts: Accounts) -> web.Application:
    """The auth service as an aiohttp application."""

    async def login(request: web.Request) -> web.Response:
        """A token for an account."""
        body = await _body(request)
        account = accounts.by_email.get(str(body.get("email", "")))
        if account is None or not secrets.compare_digest(
            account.password.encode(), str(body.get("password", "")).encode()
        ):
            return _refusal(401, "BAD_CREDENTIALS")
        return web.json_response(accounts.grant(account))

    async def refresh(request: web.Request) -> web.Response:
        """A new token for a refresh token, which works once."""
        body = await _body(request)
        # A refresh token works once, so that a copied one is worth nothing after its owner used it.
        account = accounts.refreshable.pop(str(body.get("refreshToken", "")), None)
        if account is None:
            return _refusal(401, "BAD_REFRESH_TOKEN")
        return web.json_response(accounts.grant(account))

    async def register(request: web.Request) -> web.Response:
        """A new account, and a token for it."""
        body = await _body(request)
        email = str(body.get("email", ""))
        if "@" not in email:
            return _refusal(400, "EMAIL_REQUIRED")
        if email in accounts.by_email:
            return _refusal(409, "EMAIL_TAKEN")
        account = Account(
            email, str(body.get("password", PASSWORD)), f"guest-{secrets.token_hex(3)}", "GUEST"
        )
        accounts.add(account)
        return web.json_response(accounts.grant(account), status=201)

    async def jwks(_request: web.Request) -> web.Response:
        """The keys that tokens are checked with."""
        return web.json_response(accounts.signer.jwks())

    app = web.Application()
    app.router.add_post("/api/v1/auth/login", login)
    app.router.add_post("/api/v1/auth/refresh", refresh)
    app.router.add_post("/api/v1/auth/register", register)
    app.router.add_get("/.well-known/jwks.json", jwks)
    guest = {"email": "you@example.com", "password": PASSWORD}
    return add_openapi(app, "auth-service", {"/api/v1/auth/login": guest, "/api/v1/auth/register": guest})


@dataclass(slots=True)
class SeatInventory:
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
        """Hold ``seat`` for ``user``. Returns False if the seat does not exist or is not free."""
        if not 1 <= seat <= self.seats or self._holder(seat) not in (None, user) or seat in self._sold:
            return False
        self._held[seat] = (user, self.clock() + self.hold_seconds)
        return True

    def sell(self, seat: int, user: str) -> bool:
        """Sell ``seat`` to ``user``. Returns False if the user does not hold it."""
        if self._holder(seat) != user or seat in self._sold:
            return False
        self._sold[seat] = user
        return True

    def free(self) -> list[int]:
        """The seats that are free now."""
        return [seat for seat in range(1, self.seats + 1) if self._holder(seat) is None]

    @property
    def sold(self) -> int:
        """How many seats are paid for."""
        return len(self._sold)


@dataclass(slots=True)
class Backend:
    """What the four ticketing services share: seats, reservations, occupancy, and the seed of their latency."""

    inventory: SeatInventory
    occupancy: Occupancy
    rng: random.Random
    reservations: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def work(self) -> None:
        """Take a few milliseconds, as a service with a database would."""
        await asyncio.sleep(self.rng.uniform(0.002, 0.015))

    def caller(self, request: web.Request) -> str:
        """The user whom the gateway names. If it names none or several: 500, and ``occupancy`` counts it."""
        users = request.headers.getall("X-User-Id", [])
        if len(users) != 1 or not users[0]:
            self.occupancy.record_without_user()
            raise web.HTTPInternalServerError(text="no X-User-Id: this did not come through the gateway")
        return users[0]

    def gated_caller(self, request: web.Request) -> str:
        """Like :meth:`caller`, for calls behind the gate."""
        user = self.caller(request)
        self.occupancy.record_gated(user, request.headers.get("X-User-Type", ""), time.monotonic())
        return user


def products_app(backend: Backend) -> web.Application:
    """product-service: what is on sale, open to all."""

    def concert() -> dict[str, object]:
        free = backend.inventory.free()
        backend.rng.shuffle(free)
        return {"id": "1", "title": "One night only", "seatsLeft": len(free), "freeSeats": free[:FREE_SHOWN]}

    async def listing(_request: web.Request) -> web.Response:
        """Everything that is on sale."""
        await backend.work()
        return web.json_response([concert()])

    async def one(request: web.Request) -> web.Response:
        """One product; there is only number 1."""
        await backend.work()
        if request.match_info["id"] != "1":
            return web.json_response({"code": "NO_SUCH_PRODUCT"}, status=404)
        return web.json_response(concert())

    app = web.Application()
    app.router.add_get("/api/v1/products", listing)
    app.router.add_get("/api/v1/products/{id}", one)
    return add_openapi(app, "product-service")


BOX_OFFICE_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One night only</title>
<h1>You are in.</h1>
<p>This is the box office, a page of a service behind the gateway. The gateway admits only users with a place.</p>
<form method="post" action="/api/v1/queue/leave"><button>Leave the room</button></form>
"""


def box_office_app(_backend: Backend) -> web.Application:
    """box-office: a page for browsers behind the gate."""

    async def page(_request: web.Request) -> web.Response:
        """A page that needs a place in the room."""
        return web.Response(text=BOX_OFFICE_PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/box-office", page)
    return add_openapi(app, "box-office")


def seats_app(backend: Backend) -> web.Application:
    """reservation-seat-service: hold a seat, first come first served."""

    async def hold(request: web.Request) -> web.Response:
        """Hold a seat: first come, first served."""
        user = backend.gated_caller(request)
        await backend.work()
        seat = request.match_info["id"]
        if not seat.isdecimal() or not backend.inventory.hold(int(seat), user):
            return web.json_response({"code": "SOLD_OUT", "userId": user}, status=409)
        return web.json_response({"seat": int(seat), "userId": user})

    app = web.Application()
    app.router.add_post("/api/v1/reservation-seats/{id}", hold)
    return add_openapi(app, "reservation-seat-service")


def reservations_app(backend: Backend) -> web.Application:
    """reservation-service: turn a held seat into a reservation to pay."""

    async def reserve(request: web.Request) -> web.Response:
        """Reserve the seat one holds."""
        user = backend.gated_caller(request)
        await backend.work()
        seat = (await _body(request)).get("seat")
        # A new hold checks that the seat is this user's, and keeps it until it is paid.
        if not isinstance(seat, int) or not backend.inventory.hold(seat, user):
            return web.json_response({"code": "SEAT_NOT_HELD", "userId": user}, status=409)
        number = f"R{next(backend.numbers)}"
        backend.reservations[number] = (user, seat)
        return web.json_response({"reservationId": number, "seat": seat, "userId": user}, status=201)

    app = web.Application()
    app.router.add_post("/api/v1/reservations", reserve)
    return add_openapi(app, "reservation-service", {"/api/v1/reservations": {"seat": 7}})


def payments_app(backend: Backend) -> web.Application:
    """payment-service: pay one's own reservation. Not gated: a payment must not fail because the session has ended."""

    async def pay(request: web.Request) -> web.Response:
        """Pay one's own reservation."""
        user = backend.caller(request)
        await backend.work()
        number = str((await _body(request)).get("reservationId", ""))
        owner, seat = backend.reservations.get(number, ("", 0))
        if owner != user or not backend.inventory.sell(seat, user):
            return web.json_response({"code": "NOT_PAYABLE", "userId": user}, status=409)
        return web.json_response({"reservationId": number, "seat": seat, "userId": user}, status=201)

    app = web.Application()
    app.router.add_post("/api/v1/payments", pay)
    return add_openapi(app, "payment-service", {"/api/v1/payments": {"reservationId": "R1"}})
