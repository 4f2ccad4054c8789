"""Fixtures that tests of every package use (Redis, gateways, a raw service), and Hypothesis' profile."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as sync_redis
from hypothesis import settings
from redis.asyncio import Redis

from gateway.discovery.config_server import client as config_server_client
from gateway.fast_path.executor import FastPath
from gateway.server import displacement
from tests.support.gateway import Gateways
from tests.support.raw_service import RawUpstream, raw_upstream
from tests.support.redis_client import open_redis
from tests.support.redis_server import RedisServer, StartRedis, chosen_executable

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

TESTS = Path(__file__).parent
FINISHED = pytest.StashKey[int]()
"""How many tests this process has finished."""
WITHOUT_FAST_PATH = os.environ.get("GATEWAY_TEST_FAST_PATH") == "false"
# A test that uses one of these fixtures, also through another fixture, is marked ``redis``.
NEEDS_REDIS = {"redis_server", "start_redis"}


def pytest_configure(config: pytest.Config) -> None:
    """Puts the chosen redis-server first on the PATH of every process that a test starts.

    With ``GATEWAY_TEST_FAST_PATH=false`` no gateway uses the fast path; the tests that compare both ways are left out.
    """
    config.addinivalue_line("markers", "redis: works with a real Redis; set by itself from the fixtures used")
    folder = tempfile.TemporaryDirectory(prefix="gw-path-")
    config.add_cleanup(folder.cleanup)
    Path(folder.name, "redis-server").symlink_to(chosen_executable())
    os.environ["PATH"] = os.pathsep.join((folder.name, os.environ.get("PATH", os.defpath)))
    if WITHOUT_FAST_PATH:
        # For gateways in processes of their own, and for those in the process of a test.
        os.environ["FAST_PATH"] = "false"
        FastPath.may_serve = lambda self, data, max_line_bytes: False  # type: ignore[method-assign]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out what compares the fast path with the other way, if there is none."""
    return True if WITHOUT_FAST_PATH and collection_path == TESTS / "fast_path" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects without the garbage collector: the tests live until the end, and it would look through them again and
    again, for half of the time that collecting takes."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        forget_garbage()


def forget_garbage() -> None:
    """Collects garbage, and looks at nothing again that lives now. Otherwise the collector would go through the objects
    of 24,000 tests while one of them runs, and hold its event loop for so long that Redis counts as away."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Each test leaves something behind: its report, and what libraries keep."""
    try:
        return (yield)
    finally:
        item.config.stash[FINISHED] = finished = item.config.stash.get(FINISHED, 0) + 1
        if finished % 200 == 0:
            forget_garbage()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests that use Redis, so that ``-m redis`` runs them alone, for example with another Redis. Where there
    is no fast path, leaves out the cases that turn it on."""
    for item in items:
        if isinstance(item, pytest.Function) and NEEDS_REDIS & set(item.fixturenames):
            item.add_marker(pytest.mark.redis)
    if WITHOUT_FAST_PATH:
        fast = [item for item in items if turns_fast_path_on(item)]
        items[:] = [item for item in items if not turns_fast_path_on(item)]
        config.hook.pytest_deselected(items=fast)


def turns_fast_path_on(item: pytest.Item) -> bool:
    """Whether this is the case of a parametrised test that has the fast path on; another case has it off."""
    spec = getattr(item, "callspec", None)
    return spec is not None and any(spec.params.get(name) is True for name in ("fast_path", "fast"))


def pytest_report_header() -> str:
    """The version of the Redis that the tests use."""
    shown = subprocess.run([chosen_executable(), "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.strip()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server that all tests of one worker share. Never stop it; see ``start_redis``."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The shared server's address, its databases empty."""
    with sync_redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the shared server, its databases empty; replies are text."""
    async with open_redis(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def start_redis() -> Iterator[StartRedis]:
    """Starts servers that the test may kill, freeze and start again; all are gone after it."""
    with ExitStack() as stack:

        def start(*options: str) -> RedisServer:
            return stack.enter_context(RedisServer(*options))

        yield start


@pytest.fixture
async def gateways(tmp_path: Path, redis_url: str) -> AsyncIterator[Gateways]:
    """Starts gateways in the test's own process, with an issuer, its key server and a service."""
    async with Gateways(tmp_path, redis_url) as started:
        yield started


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Config Server that failed is asked again soon, not after a second, by gateways in the test's own process."""
    monkeypatch.setattr(config_server_client, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(config_server_client, "MIN_INTERVAL_SECONDS", 0.05)


@pytest.fixture
def service() -> Iterator[RawUpstream]:
    """A service that takes every method and every byte in a query, which aiohttp's parser does not."""
    with raw_upstream() as running:
        yield running


@pytest.fixture
def nothing_displaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No idle connection makes room for a new one, so each one above the limit is one too many."""
    monkeypatch.setattr(displacement, "MIN_IDLE_SECONDS", math.inf)
