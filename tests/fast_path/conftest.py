"""Pairs of gateways that live as long as these tests, so that each comparison costs a few milliseconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest
import pytest_asyncio

from gateway.api import forwarding
from tests.fast_path.rig import Pair, paired
from tests.fast_path.routes import ROUTES, ROUTES_WITH_RULES, RULED, USUAL
from tests.support.gateway import Gateways
from tests.support.redis_server import RedisServer

SIGNED_AT = 1_700_000_000


@pytest.fixture(scope="package")
def own_redis() -> Iterator[RedisServer]:
    """A server that no other test empties."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="package", autouse=True)
def _signing_time() -> Iterator[None]:
    """Stops the clock that goes into ``X-Gateway-Signature``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forwarding, "time", SimpleNamespace(time=lambda: SIGNED_AT))
        yield


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def package_gateways(
    tmp_path_factory: pytest.TempPathFactory, own_redis: RedisServer
) -> AsyncIterator[Gateways]:
    async with Gateways(tmp_path_factory.mktemp("fast_path"), own_redis.url) as started:
        yield started


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def usual(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """Gateways without trusted proxies and CORS rules, which sign what they tell services."""
    async with paired(package_gateways, ROUTES, **USUAL) as pair:
        yield pair


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def ruled(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """Gateways behind a trusted proxy, with CORS rules, security headers and a limit for bodies."""
    async with paired(package_gateways, ROUTES_WITH_RULES, **RULED) as pair:
        yield pair
