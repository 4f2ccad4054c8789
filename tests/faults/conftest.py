"""Sites for the tests of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.site import Site, StartSite, a_site
from tests.support.redis_server import StartRedis


@pytest.fixture
async def start_site(tmp_path: Path, start_redis: StartRedis) -> AsyncIterator[StartSite]:
    """Makes a site on a Redis of its own that keeps an append-only file; see ``a_site``."""
    async with AsyncExitStack():

        def start(**options: object) -> AbstractAsyncContextManager[Site]:
            return a_site(tmp_path, start_redis("--appendonly", "yes"), **options)  # type: ignore[arg-type]

        yield start
