"""Two gateways for all hostile tests: one parses with aiohttp's C extension, one without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.hostile.rig import Gateway, Start, emptied, key_server, running
from tests.support.raw_service import RawUpstream, raw_upstream
from tests.support.redis_server import RedisServer
from tests.support.tokens import Issuer


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


@pytest.fixture(scope="package")
def start(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    keys: str,
    upstream: RawUpstream,
    issuer: Issuer,
) -> Iterator[Start]:
    """Starts gateways that live as long as these tests."""
    with ExitStack() as stack:

        def start(parser: str, **options: Any) -> Gateway:
            folder = tmp_path_factory.mktemp("hostile")
            return stack.enter_context(
                running(folder, redis_server.url, keys, upstream, issuer, parser=parser, **options)
            )

        yield start


@pytest.fixture(scope="package", params=["c", "python"])
def either(request: pytest.FixtureRequest, start: Start) -> Gateway:
    """A gateway with aiohttp's C extension, and one without."""
    return start(request.param)


@pytest.fixture(scope="package")
def usual(start: Start) -> Gateway:
    return start("c", management_token="a-token-of-the-test")


@pytest.fixture
def gateway(either: Gateway) -> Gateway:
    """The gateway, with nothing seen yet by the service behind it; each test is done with both parsers."""
    return emptied(either)


@pytest.fixture
def one_gateway(usual: Gateway) -> Gateway:
    """Likewise with the usual parser only, for what begins behind it."""
    return emptied(usual)
