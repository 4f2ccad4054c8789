"""The demo's auth service: accounts, logins and RS256 tokens under a key made at start.

It signs with ``cryptography`` itself, as any other service's library would; how the gateway checks tokens
is the gateway's own affair.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.demo.described import described

ACCESS_SECONDS = 3600
PASSWORD = "demo"


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _b64_number(number: int) -> str:
    return _b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _compact_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Signer:
    """One RSA key: signs access tokens and publishes its public half."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = secrets.token_hex(4)

    def token(self, subject: str, user_type: str, *, seconds: float = ACCESS_SECONDS) -> str:
        """A compact JWT for ``subject``, good for ``seconds`` from now."""
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
    """Who may log in. ``user_type`` reaches the services as X-User-Type."""

    email: str
    password: str
    user_id: str
    user_type: str


@dataclass(slots=True)
class Accounts:
    """The accounts, and the refresh tokens given out. Held in memory: the demo's people live a minute."""

    signer: Signer
    by_email: dict[str, Account] = field(default_factory=dict)
    refreshable: dict[str, Account] = field(default_factory=dict)

    def add(self, account: Account) -> None:
        """Make ``account`` known, or replace the one with its e-mail address."""
        self.by_email[account.email] = account

    def grant(self, account: Account) -> dict[str, Any]:
        """A fresh pair of tokens, in the shape the auth service answers with."""
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


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def make_app(accounts: Accounts) -> web.Application:
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
    return described(app, "auth-service", {"/api/v1/auth/login": guest, "/api/v1/auth/register": guest})
