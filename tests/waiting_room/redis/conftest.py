"""A Redis of the test's own."""

from __future__ import annotations

import pytest

from tests.support.redis_server import RedisServer, StartRedis


@pytest.fixture
def server(start_redis: StartRedis) -> RedisServer:
    """A server that the test may kill, freeze and reconfigure."""
    return start_redis()
