"""A gateway for each test of the web layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.harness import Gateways
from tests.hostile.upstream import RawUpstream, raw_upstream


@pytest.fixture
async def gateways(tmp_path: Path, redis_url: str) -> AsyncIterator[Gateways]:
    async with Gateways(tmp_path, redis_url) as started:
        yield started


@pytest.fixture
def service() -> Iterator[RawUpstream]:
    """A service that takes every method and every byte in a query, which aiohttp's parser does not."""
    with raw_upstream() as running:
        yield running
