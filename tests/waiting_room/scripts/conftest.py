"""Every script is tested on each Redis there is: the oldest that has to work, and the system's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support.redis_server import RedisServer, system_executable, wheel_executable
from tests.waiting_room.rig import Rig, connect


@pytest.fixture(scope="session", params=[wheel_executable, system_executable], ids=["wheel", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    executable = request.param()
    if executable is None:
        pytest.skip("not installed")
    with RedisServer(executable=executable) as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with connect(server.url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def rig(client: redis.Redis) -> Iterator[Rig]:
    """An empty room with two slots and sessions of ten seconds."""
    room = Rig(client)
    yield room
    room.close()
