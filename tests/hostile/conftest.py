"""Two gateways for all hostile tests: one parses with aiohttp's C extension, one without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.rig import Gateway, key_server, running
from tests.hostile.upstream import RawUpstream, raw_upstream
from tests.redis_server import RedisServer
from tests.tokens import Issuer


@pytest.fixture(scope="package")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="package")
def keys(issuer: Issuer) -> Iterator[str]:
    with key_server(issuer) as uri:
        yield uri


@pytest.fixture(scope="package")
def upstream() -> Iterator[RawUpstream]:
    with raw_upstream() as service:
        yield service


@pytest.fixture(scope="package", params=["c", "python"])
def process(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    keys: str,
    upstream: RawUpstream,
    issuer: Issuer,
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("hostile")
    with running(folder, redis_server.url, keys, upstream, issuer, parser=request.param) as gateway:
        yield gateway


@pytest.fixture
def gateway(process: Gateway) -> Gateway:
    """The gateway, with nothing seen yet by the service behind it."""
    process.upstream.take()
    process.upstream.answers.clear()
    return process
