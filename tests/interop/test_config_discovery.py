"""Real Config Servers that a gateway finds through a real Eureka: under a context path, behind a password, two of which
one dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.config_server import Repository, missing, real_config_server
from tests.interop.eureka_servers import EurekaServer
from tests.support.gateway import Gateways, Running

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("quick_retries"),
]

TOKEN = "operator-token-of-the-test"
FILE = "routes: [{id: filed, uri: 'lb://svc', predicates: [Path=/filed/**]}]\n"
OWN = "spring.cloud.gateway.routes: [{id: %s, uri: 'lb://svc', predicates: [Path=/own/**]}]\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def under_a_path(repository: Repository) -> Iterator[str]:
    """A server under a context path, and behind a password."""
    repository.commit({"gateway-server.yml": OWN % "first"})
    with real_config_server(
        repository, "--set", "server.servlet.context-path=/settings", "--user", "ann", "--password", "p@ss"
    ) as url:
        yield url


@pytest.fixture(scope="module")
def shared() -> Iterator[EurekaServer]:
    with contextlib.closing(EurekaServer()) as server:
        server.wait()
        yield server


@pytest.fixture
async def eureka(shared: EurekaServer) -> EurekaServer:
    """The module's server, knowing nobody."""
    await shared.forget_everybody()
    return shared


def settings(eureka: EurekaServer, **changes: object) -> dict[str, object]:
    return {
        "spring_cloud_config_discovery_enabled": "true",
        "spring_cloud_config_discovery_service_id": "config-server",
        "eureka_client_serviceurl_defaultzone": eureka.url,
        "config_server_refresh_seconds": 0,
        "management_token": TOKEN,
    } | changes


async def ids(gateway: Running) -> list[str]:
    listed = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    return [route["route_id"] for route in listed]


async def refresh(gateway: Running) -> tuple[int, Any]:
    answer = await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
    return answer.status, answer.json


async def until_listed(eureka: EurekaServer, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await eureka.instances()) < count:
            await asyncio.sleep(0.1)


async def test_an_address_may_have_a_context_path(under_a_path: str, gateways: Gateways) -> None:
    place = f"{under_a_path.replace('http://', 'http://ann:p%40ss@')}/settings/"
    gateway = await gateways.start(FILE, spring_config_import=f"configserver:{place}")
    assert await ids(gateway) == ["first"]


async def test_path_user_and_password_are_in_the_metadata(
    under_a_path: str, eureka: EurekaServer, gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await gateways.start(FILE, **settings(eureka))
    assert await ids(gateway) == ["filed"]
    await eureka.register("config-server", under_a_path, configPath="/settings", user="ann", password="p@ss")
    await until_listed(eureka, 1)
    async with asyncio.timeout(60):
        while await ids(gateway) != ["first"]:  # by itself
            await asyncio.sleep(0.1)
    assert "p@ss" not in caplog.text
    assert await ids(await gateways.start(FILE, **settings(eureka))) == ["first"]


async def test_of_two_instances_one_dies_and_both_are_replaced(
    tmp_path: Path, eureka: EurekaServer, gateways: Gateways
) -> None:
    repository = Repository(tmp_path / "config")
    repository.commit({"gateway-server.yml": OWN % "first"})
    async with contextlib.AsyncExitStack() as stack:
        runs = [await stack.enter_async_context(contextlib.AsyncExitStack()) for _ in range(3)]

        async def begin(run: contextlib.AsyncExitStack) -> str:
            server = real_config_server(repository)
            url = await asyncio.to_thread(server.__enter__)
            run.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
            return url

        # At the same time, since each takes seconds. They clone the repository when they are asked.
        urls = await asyncio.gather(*(begin(run) for run in runs))
        for url in urls[:2]:
            await eureka.register("config-server", url)
        await until_listed(eureka, 2)
        gateway = await gateways.start(FILE, **settings(eureka))
        assert await ids(gateway) == ["first"]
        await runs[0].aclose()
        repository.commit({"gateway-server.yml": OWN % "second"})
        assert (await refresh(gateway))[0] == 200
        assert await ids(gateway) == ["second"]
        await runs[1].aclose()
        status, content = await refresh(gateway)
        assert (status, "can't be reached" in str(content)) == (503, True)
        assert await ids(gateway) == ["second"]
        repository.commit({"gateway-server.yml": OWN % "third"})
        await eureka.register("config-server", urls[2])
        await until_listed(eureka, 3)
        assert (await refresh(gateway))[0] == 200
        assert await ids(gateway) == ["third"]
