"""A verifier over a key set without a network, and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from gateway.auth.jwks import Jwks
from gateway.auth.tokens import TokenVerifier
from tests.auth.attacks import NOW
from tests.auth.rig import STILL, Source
from tests.support.clock import Clock
from tests.support.tokens import Issuer, KeyServer, serving


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
