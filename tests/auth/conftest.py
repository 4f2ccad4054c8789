"""A verifier over a key set without a network, and a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from gateway.auth.jwks import Jwks, JwksTiming
from gateway.auth.tokens import TokenVerifier
from tests.auth.attacks import NOW
from tests.support.clock import Clock
from tests.support.tokens import Issuer, KeyServer, serving

# No periodic refresh and no retry within a test's life.
STILL = JwksTiming(refresh=900, first_retry=900, retry_without_keys=900, retry_with_keys=900)


class Source:
    """An issuer's key set without a network, with a count of the fetches."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.fetches = 0

    async def __call__(self, _uri: str) -> bytes:
        self.fetches += 1
        return json.dumps(self.issuer.jwks()).encode()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A key server over real HTTP."""
    async with serving(Issuer()) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as running:
        yield running


@pytest.fixture
def source(issuer: Issuer) -> Source:
    return Source(issuer)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def jwks(source: Source) -> AsyncIterator[Jwks]:
    async with Jwks("http://127.0.0.1:1/", ("RS256", "ES256"), source, timing=STILL).running() as running:
        yield running


@pytest.fixture
def verifier(jwks: Jwks, clock: Clock) -> TokenVerifier:
    return TokenVerifier(jwks, clock=clock)
