"""An auth server for tests: keys, tokens signed with them, and a real HTTP server for the key set.

``Issuer`` makes what an honest auth server would make, and through ``signed`` what a dishonest
client would try. Private keys are made once per process and shared by number, so an ``Issuer`` in
every test costs nothing after the first.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jose import jwk

_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
_PSS_HASHES = {"PS256": hashes.SHA256, "PS384": hashes.SHA384, "PS512": hashes.SHA512}
_ED25519 = ("EdDSA", "Ed25519")


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def private_pem(algorithm: str, number: int, bits: int = 2048) -> str:
    """The private key with this number, as PEM; the same one each time within a process."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey
    if algorithm in _CURVES:
        key = ec.generate_private_key(_CURVES[algorithm]())
    elif algorithm in _ED25519:
        key = Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(65537, bits)
    form, secrecy = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, secrecy).decode()


class _Pss:
    """Signs as python-jose's keys do, with RSA-PSS."""

    def __init__(self, pem: str, algorithm: str) -> None:
        self._key = serialization.load_pem_private_key(pem.encode(), None)
        self._jose = jwk.construct(pem, "RS256")
        self._digest = _PSS_HASHES[algorithm]()

    def sign(self, data: bytes, salt: int | None = None) -> bytes:
        length = self._digest.digest_size if salt is None else salt
        scheme = padding.PSS(padding.MGF1(self._digest), length)
        return self._key.sign(data, scheme, self._digest)

    def public_key(self) -> Any:
        return self._jose.public_key()


class _Ed25519:
    """Signs as python-jose's keys do, with Ed25519."""

    def __init__(self, pem: str) -> None:
        self._key = serialization.load_pem_private_key(pem.encode(), None)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def public_key(self) -> Any:
        return self

    def to_pem(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def to_dict(self) -> dict[str, str]:
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(self._key.public_key().public_bytes_raw())}


@functools.cache
def _signing(algorithm: str, number: int) -> Any:
    """The private key with this number, ready to sign: reading it from its PEM takes up to a tenth of a second."""
    pem = private_pem(algorithm, number)
    if algorithm in _PSS_HASHES:
        return _Pss(pem, algorithm)
    return _Ed25519(pem) if algorithm in _ED25519 else jwk.construct(pem, algorithm)


class Issuer:
    """One auth server's keys: ``jwks()`` is what it publishes, ``token(sub)`` what it hands out.

    ``key`` is the number of its (first) private key: issuers with the same number and algorithm
    share it, so a forger is ``Issuer(key=99, kid=honest.kid)``. ES256 signs about ten times faster
    than RS256 (the default), which counts when a test needs thousands of tokens.
    """

    def __init__(self, *, algorithm: str = "RS256", key: int = 0, kid: str | None = None) -> None:
        self.algorithm = algorithm
        self._number = key
        self._published: list[dict[str, Any]] = []
        self._take(key, kid)

    def _take(self, number: int, kid: str | None) -> None:
        self.kid = f"key-{number}" if kid is None else kid
        self._key = _signing(self.algorithm, number)
        public = self._key.public_key().to_dict()
        members = {name: v.decode() if isinstance(v, bytes) else v for name, v in public.items()}
        self._published.append(members | {"kid": self.kid, "use": "sig", "alg": self.algorithm})

    def jwks(self) -> dict[str, Any]:
        """The key set as a JSON object; what is changed in it does not change the issuer."""
        return {"keys": [dict(key) for key in self._published]}

    def public_pem(self) -> bytes:
        """The present public key as PEM: what an attacker would use as an HMAC secret."""
        return self._key.public_key().to_pem()

    def rotate(self, *, keep: bool = True) -> str:
        """Sign with a new key from now on; ``keep`` says whether older ones stay published.

        Returns the new ``kid``.
        """
        if not keep:
            self._published.clear()
        self._number += 1
        self._take(self._number, None)
        return self.kid

    def token(
        self, sub: object = "user-1", *, headers: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        """A signed token, valid for an hour. ``claims`` and ``headers`` replace; ``None`` omits."""
        body = {"sub": sub, "exp": int(time.time()) + 3600, "userType": "USER"} | claims
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | (headers or {})
        return self.signed(
            {name: value for name, value in head.items() if value is not None},
            {name: value for name, value in body.items() if value is not None},
        )

    def signed(self, header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes) -> str:
        """A correct signature over whatever is given; bytes go in as they are."""
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signing_input = f"{b64(head)}.{b64(body)}"
        return f"{signing_input}.{b64(self._key.sign(signing_input.encode()))}"


class KeyServer:
    """What ``serving`` yields: where the key set is, and handles to make the server misbehave.

    ``requests`` counts the requests so far. ``status`` and ``body`` (``None`` = the issuer's set)
    are the next answers; while ``answering`` is cleared, requests hang.
    """

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.uri = ""
        self.requests = 0
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.arrived = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()

    async def answer(self, _request: web.Request) -> web.Response:
        self.requests += 1
        self.arrived.set()
        await self.answering.wait()
        body = json.dumps(self.issuer.jwks()).encode() if self.body is None else self.body
        return web.Response(
            status=self.status, body=body, content_type="application/json", headers=self.headers
        )


def reserved_port() -> socket.socket:
    """A bound socket on 127.0.0.1 that refuses connections until ``serving`` gets it."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def jwks_uri(sock: socket.socket) -> str:
    """Where the key set is when ``serving`` gets this socket."""
    return f"http://127.0.0.1:{sock.getsockname()[1]}/.well-known/jwks.json"


@asynccontextmanager
async def serving(issuer: Issuer, *, sock: socket.socket | None = None) -> AsyncIterator[KeyServer]:
    """Publish the issuer's key set on 127.0.0.1 (a free port, or the socket given) while inside."""
    sock = sock or reserved_port()
    server = KeyServer(issuer)
    server.uri = jwks_uri(sock)
    app = web.Application()
    app.router.add_get("/.well-known/jwks.json", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield server
    finally:
        server.answering.set()
        await runner.cleanup()
        sock.close()
