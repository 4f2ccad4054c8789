"""redis-py's asyncio client, as tests open it."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


def open_redis(url: str, **options: Any) -> Redis:
    """A client of the server at ``url``; use it with ``async with``. It has no time limit of its own: pytest-timeout
    ends a test whose server does not answer.

    With a limit, redis-py sends every command through ``asyncio.wait_for``. Up to Python 3.11 that function ignores a
    cancellation that comes just as the command has been sent, so a cancelled task would go on.
    """
    client: Redis = Redis.from_url(url, socket_timeout=None, **options)
    return client
