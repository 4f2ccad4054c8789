"""A gateway that finds its Config Server through Eureka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.composition.live_settings import config_request, is_optional
from gateway.errors import ConfigUnavailable
from gateway.settings.model import Settings
from tests.support.config_server import ConfigServerStub, config_server, routes
from tests.support.eureka import FakeEureka, entry, fake_eureka
from tests.support.gateway import Gateways, Running

pytestmark = pytest.mark.usefixtures("quick_retries")

FILE = "routes: [{id: filed, uri: 'lb://svc', predicates: [Path=/filed/**]}]\n"
TOKEN = "operator-token-of-the-test"


@pytest.fixture
async def eureka() -> AsyncIterator[FakeEureka]:
    async with fake_eureka() as fake:
        yield fake


class Site:
    """Config Servers that come and go."""

    def __init__(self, eureka: FakeEureka, stack: AsyncExitStack) -> None:
        self.eureka = eureka
        self._stack = stack
        self._runs: dict[str, AsyncExitStack] = {}

    async def start(self, id_: str, app: str = "CONFIGSERVER", **metadata: str) -> ConfigServerStub:
        run = await self._stack.enter_async_context(AsyncExitStack())
        stub = await run.enter_async_context(config_server())
        stub.say(routes("a"))
        self._runs[id_] = run
        port = {"$": int(stub.url.rpartition(":")[2]), "@enabled": "true"}
        self.eureka.register(entry(id_, app, hostName="127.0.0.1", port=port, metadata=metadata))
        return stub

    async def kill(self, id_: str) -> None:
        """Ends it without a word to Eureka."""
        await self._runs[id_].aclose()


@pytest.fixture
async def site(eureka: FakeEureka) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(eureka, stack)


def settings(eureka: FakeEureka, **changes: object) -> dict[str, object]:
    return {
        "spring_cloud_config_discovery_enabled": "true",
        "eureka_client_serviceurl_defaultzone": eureka.url,
        # Nothing else is asked of Eureka.
        "eureka_register": "false",
        "eureka_fetch": "false",
        "config_server_refresh_seconds": 0,
        "management_token": TOKEN,
    } | changes


async def ids(gateway: Running) -> list[str]:
    listed = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    return [route["route_id"] for route in listed]


async def refresh(gateway: Running) -> tuple[int, Any]:
    answer = await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
    return answer.status, answer.json


@pytest.mark.parametrize("app", ["CONFIGSERVER", "CONFIG-SERVER"])
async def test_it_is_found_by_either_of_its_usual_names(app: str, gateways: Gateways, site: Site) -> None:
    stub = await site.start("one", app)
    gateway = await gateways.start(FILE, **settings(site.eureka))
    assert await ids(gateway) == ["a"]
    assert [path for path, _ in stub.asked] == ["/gateway-server/default"]


@pytest.mark.parametrize(
    "variable",
    [
        "spring_cloud_config_discovery_service_id",
        "spring_cloud_config_discovery_serviceid",
        "config_server_service_id",
    ],
)
async def test_it_is_found_by_the_name_that_is_set(variable: str, gateways: Gateways, site: Site) -> None:
    await site.start("usual")
    (await site.start("own", "SETTINGS")).say(routes("b"))
    gateway = await gateways.start(FILE, **settings(site.eureka, **{variable: "settings"}))
    assert await ids(gateway) == ["b"]


async def test_its_metadata_say_path_user_and_password(
    gateways: Gateways, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    stub = await site.start("one", configPath="/configuration", user="ann", password="s3cret/of:one")
    stub.credentials = ("ann", "s3cret/of:one")
    others = {"config_server_username": "bob", "config_server_password": "other"}
    gateway = await gateways.start(FILE, **settings(site.eureka, **others))
    assert await ids(gateway) == ["a"]
    assert stub.asked[-1][0] == "/configuration/gateway-server/default"
    stub.credentials = ("ann", "changed")
    status, told = await refresh(gateway)
    assert (status, told["error"]["fields"][0]["reason"]) == (503, "status 401 (user or password is wrong)")
    health = (await gateway.nobody("GET", "/actuator/health")).body.decode()
    assert "s3cret" not in caplog.text + health
    # The metadata have the new one: it is looked up anew.
    (known,) = site.eureka.entries
    known["metadata"] = {"configPath": "/configuration", "user": "ann", "password": "changed"}
    assert await refresh(gateway) == (200, [])


async def test_a_user_of_the_settings_counts_where_the_metadata_have_none(
    gateways: Gateways, site: Site
) -> None:
    stub = await site.start("one")
    stub.credentials = ("bob", "own")
    others = {"config_server_username": "bob", "config_server_password": "own"}
    gateway = await gateways.start(FILE, **settings(site.eureka, **others))
    assert await ids(gateway) == ["a"]


async def test_of_two_instances_one_may_die_and_another_come(gateways: Gateways, site: Site) -> None:
    one, two = await site.start("one"), await site.start("two")
    gateway = await gateways.start(FILE, **settings(site.eureka))
    first, other = ("one", two) if one.asked else ("two", one)
    await site.kill(first)
    other.say(routes("b"))
    assert (await refresh(gateway))[0] == 200
    assert await ids(gateway) == ["b"]
    other.say(routes("c"))
    assert (await refresh(gateway))[0] == 200
    assert await ids(gateway) == ["c"]
    assert site.eureka.requests == ["GET /apps"], "one that is known answered all the time"
    # Now none of those that are known answers.
    await site.kill("two" if first == "one" else "one")
    status, told = await refresh(gateway)
    assert status == 503
    assert "server 2: it can't be reached" in told["error"]["fields"][0]["reason"]
    (await site.start("three")).say(routes("d"))
    assert (await refresh(gateway))[0] == 200
    assert await ids(gateway) == ["d"]


@pytest.mark.parametrize("trouble", ["no instance", "no Eureka", "Eureka is off"])
async def test_without_one_the_file_counts_until_one_is_there(
    trouble: str, gateways: Gateways, site: Site
) -> None:
    eureka, wrong = site.eureka, {}
    if trouble == "no Eureka":
        eureka.answers["GET /apps"] = (503, b"")
    elif trouble == "Eureka is off":
        wrong = {"eureka_client_serviceurl_defaultzone": ""}
    gateway = await gateways.start(FILE, **settings(eureka, **wrong))
    assert await ids(gateway) == ["filed"]
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert health["status"] == "UNKNOWN"
    assert {
        "no instance": "no instance of configserver or config-server is up in Eureka",
        "no Eureka": "it is to be found through Eureka, which does not answer",
        "Eureka is off": "it is to be found through Eureka, and no server of that is set",
    }[trouble] == health["details"]["reason"]
    if trouble != "Eureka is off":
        eureka.answers.clear()
        await site.start("one")
        async with asyncio.timeout(20):
            while await ids(gateway) != ["a"]:  # by itself, although no interval is set
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [(401, b""), (404, b""), (302, b""), (500, b""), (200, b"<html>")])
async def test_a_eureka_that_answers_with_something_of_no_use_leads_to_no_other_routes(
    answer: tuple[int, bytes], gateways: Gateways, site: Site
) -> None:
    site.eureka.answers["GET /apps"] = answer
    gateway = await gateways.start(FILE, **settings(site.eureka))
    assert await ids(gateway) == []
    told = await gateway.nobody("GET", "/actuator/health/readiness")
    reason = told.json["components"]["configServer"]["details"]["reason"]
    assert (told.status, reason) == (503, "it is to be found through Eureka, whose answer is of no use")
    site.eureka.answers.clear()
    await site.start("one")
    async with asyncio.timeout(20):
        while await ids(gateway) != ["a"]:  # by itself, although no interval is set
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_status_of_a_eureka_that_is_away_is_no_answer(
    status: int, gateways: Gateways, site: Site
) -> None:
    site.eureka.answers["GET /apps"] = (status, b"")
    assert await ids(await gateways.start(FILE, **settings(site.eureka))) == ["filed"]


async def test_a_start_that_needs_it_stops_without_it(gateways: Gateways, eureka: FakeEureka) -> None:
    for required in ("configserver:", "configserver:http://127.0.0.1:1"):
        with pytest.raises(ConfigUnavailable, match="no instance of configserver or config-server"):
            await gateways.start(FILE, **settings(eureka, spring_config_import=required))


async def test_check_and_routes_find_it_too(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await site.start("one")
    file = tmp_path / "routes.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("ROUTES_FILE", str(file))
    monkeypatch.setenv("SPRING_CLOUD_CONFIG_DISCOVERY_ENABLED", "true")
    monkeypatch.setenv("EUREKA_CLIENT_SERVICEURL_DEFAULTZONE", site.eureka.url)
    assert await asyncio.to_thread(main, ["check"]) == 0
    assert "and the Config Server: 1 route, no faults" in capsys.readouterr().out


def test_discovery_alone_is_an_import_that_is_optional() -> None:
    found = Settings.from_env({"SPRING_CLOUD_CONFIG_DISCOVERY_ENABLED": "true"})
    asked = config_request(found)
    assert asked is not None
    assert (asked.found, asked.urls, is_optional(found)) == (True, (), True)
    assert config_request(Settings.from_env({"CONFIG_SERVER_DISCOVERY": "false"})) is None


@pytest.mark.parametrize(
    ("query", "variable", "optional"),
    [
        ("", "", True),
        ("?fail-fast=true&max-attempts=10", "", False),
        ("?fail-fast=true", "false", False),
        ("?max-attempts=10", "true", False),
        ("?fail-fast=false", "true", True),
    ],
)
def test_an_import_may_say_that_the_start_fails_without_the_server(
    query: str, variable: str, optional: bool
) -> None:
    environ = {
        "SPRING_CONFIG_IMPORT": f"optional:configserver:http://c{query}",
        "SPRING_CLOUD_CONFIG_FAIL_FAST": variable,
    }
    assert is_optional(Settings.from_env(environ)) is optional


def test_a_variable_of_springs_imports_from_the_default_address_unless_it_says_otherwise() -> None:
    def urls(**environ: str) -> tuple[str, ...] | None:
        asked = config_request(Settings.from_env(environ))
        return None if asked is None else asked.urls

    default = ("http://localhost:8888",)
    assert urls(SPRING_PROFILES_ACTIVE="prod") == default
    assert urls(SPRING_CLOUD_CONFIG_DISCOVERY_ENABLED="false") == default
    assert urls(SPRING_CLOUD_CONFIG_URI="http://config/settings") == ("http://config/settings",)
    assert urls(EUREKA_CLIENT_SERVICEURL_DEFAULTZONE="http://e") is None, "no variable of Spring's own"
    assert urls(SPRING_PROFILES_ACTIVE="prod", SPRING_CLOUD_CONFIG_ENABLED="false") is None
    assert urls(SPRING_PROFILES_ACTIVE="prod", SPRING_CONFIG_IMPORT="") is None
    assert urls(GATEWAY_PROFILE="plain", SPRING_PROFILES_ACTIVE="prod") is None
