"""Routes from a file, a Config Server and discovery, put together in a whole gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import ROUTE_SOURCES
from gateway.composition.live_settings import DEFAULT_KEY_SET, token_settings
from gateway.composition.route_sources import RouteSources
from gateway.context import CONFIGURATION
from gateway.errors import ConfigUnavailable
from gateway.observability.metrics import NoMetrics
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from tests.support.config_server import ConfigServerStub, config_server, routes
from tests.support.gateway import Answer, Gateways, Running
from tests.support.identity_provider import providing
from tests.support.tokens import Issuer, serving

pytestmark = pytest.mark.usefixtures("quick_retries")

NEW = "spring.cloud.gateway.server.webflux"
JWT = "spring.security.oauth2.resourceserver.jwt."
FILE = """
routes: [{id: filed, uri: 'lb://svc', predicates: [Path=/filed/**]}]
services: {svc: ['%(service)s']}
gates: [{calls: [POST /api/v1/reservations, POST /api/v1/reservation-seats/**]}]
"""
LOCATOR = FILE + "discovery: {locator: {enabled: true}}\n"
TOKEN = "operator-token-of-the-test"


@pytest.fixture
async def server() -> AsyncIterator[ConfigServerStub]:
    async with config_server() as stub:
        stub.say(routes("a"))
        yield stub


def from_server(server: ConfigServerStub, optional: bool = False) -> dict[str, object]:
    return {
        "spring_config_import": f"{'optional:' * optional}configserver:{server.url}",
        "config_server_refresh_seconds": 0,
        "management_token": TOKEN,
    }


async def ids(gateway: Running) -> list[str]:
    listed = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    return [route["route_id"].removeprefix("ReactiveCompositeDiscoveryClient_") for route in listed]


async def until(gateway: Running, wanted: list[str]) -> None:
    async with asyncio.timeout(20):
        while await ids(gateway) != wanted:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("variable", ["spring_config_import", "config_server_url", "spring_cloud_config_uri"])
async def test_routes_come_from_the_server_however_it_is_named(
    variable: str, gateways: Gateways, server: ConfigServerStub
) -> None:
    value = f"configserver:{server.url}" if variable == "spring_config_import" else server.url
    gateway = await gateways.start(FILE, **{variable: value})
    assert await ids(gateway) == ["a"]


async def test_the_import_may_leave_the_address_to_the_other_setting(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(
        FILE,
        spring_config_import="optional:configserver:",
        config_server_url=server.url,
        config_server_label="feature/x",
        spring_profiles_active="prod,dev",
        spring_application_name="gw",
    )
    assert await ids(gateway) == ["a"]
    assert server.asked[0][0] == "/gw/prod,dev/feature(_)x"


@pytest.mark.parametrize("status", [0, 502, 503, 504], ids=str)
async def test_an_optional_server_that_is_away_is_done_without_until_it_is_back(
    status: int, gateways: Gateways, server: ConfigServerStub, caplog: pytest.LogCaptureFixture
) -> None:
    settings = from_server(server, optional=True)
    if not status:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            settings["spring_config_import"] = (
                f"optional:configserver:http://127.0.0.1:{taken.getsockname()[1]}"
            )
            gateway = await gateways.start(FILE, **settings)
            assert await ids(gateway) == ["filed"]
            return
    server.status = status
    gateway = await gateways.start(FILE, **settings)
    assert await ids(gateway) == ["filed"]
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]
    assert health["configServer"]["status"] == "UNKNOWN"
    assert (await gateway.nobody("GET", "/actuator/health/readiness")).status == 200
    assert "nothing new from the Config Server" in caplog.text
    server.status = 200
    server.say(routes("a"))
    await until(gateway, ["a"])  # by itself, although no interval is set
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]
    assert {health[name]["status"] for name in ("configServer", "routes")} == {"UP"}


async def test_health_tells_of_no_more_faults_than_one_can_read(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(FILE, **from_server(server))
    server.say({f"{NEW}.routes[{at}].id": f"{at}{'x' * 1000}" for at in range(1000)})
    refused = await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
    health = await gateway.nobody("GET", "/actuator/health")
    for answer in (refused, health):
        assert b"more" in answer.body
        assert len(answer.body) < 64 * 1024


async def test_without_optional_a_server_away_stops_the_start(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    server.status = 500
    with pytest.raises(ConfigUnavailable, match="no configuration from the Config Server: status 500"):
        await gateways.start(FILE, **from_server(server))
    server.status = 200
    server.say({**routes("a"), f"{NEW}.routes[0].uri": "nowhere"})
    with pytest.raises(RouteFileError, match=r"routes\[0\].uri"):
        await gateways.start(FILE, **from_server(server))


async def test_a_bad_route_file_stops_the_start_also_with_a_server(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    with pytest.raises(RouteFileError):
        await gateways.start("routes: {", **from_server(server, optional=True))


async def test_changes_are_taken_over_in_intervals(gateways: Gateways, server: ConfigServerStub) -> None:
    settings = from_server(server) | {"config_server_refresh_seconds": 0.05}
    gateway = await gateways.start(FILE, **settings)
    server.say(routes("b", "c"))
    await until(gateway, ["b", "c"])


async def test_a_changed_route_file_counts_beside_the_server(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await gateways.start(LOCATOR, **from_server(server))
    assert await ids(gateway) == ["a", "svc"]
    text = gateway.routes_file.read_text().replace("svc:", "other:")
    gateway.routes_file.write_text(text)
    await until(gateway, ["a", "other"])


async def test_gates_and_access_hold_for_routes_of_the_server(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    server.say(
        {
            **routes("svc"),
            f"{NEW}.routes[0].filters[0]": "StripPrefix=1",
            "access.public[0]": "GET /svc/**",
            "gates": "",
        }
    )
    gateway = await gateways.start(FILE, **from_server(server))
    ann = gateway.user("ann")
    assert (await ann("POST", "/svc/api/v1/reservations")).code == "NOT_IN_QUEUE"
    assert (await gateway.nobody("GET", "/svc/x")).code == "TOKEN_REQUIRED"
    assert (await ann("GET", "/svc/x")).status == 200
    assert (await ann("GET", "/svc/actuator/env")).code == "ROUTE_NOT_FOUND"
    assert len(gateways.service.seen) == 1
    await ann.lineup()
    assert (await ann("POST", "/svc/api/v1/reservations")).status == 200


async def test_services_that_come_and_go_get_and_lose_their_routes(gateways: Gateways) -> None:
    gateway = await gateways.start(LOCATOR)
    discover = gateway.app[ROUTE_SOURCES].discover
    discover(["ORDERS"])
    await until(gateway, ["filed", "orders", "svc"])
    discover(iter(["PAY", "ORDERS", "GATEWAY-SERVER"]))
    await until(gateway, ["filed", "orders", "pay", "svc"])
    discover({})
    await until(gateway, ["filed", "svc"])


async def test_services_discovered_during_the_start_count(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(LOCATOR % {"service": "http://127.0.0.1:1"})
    taken: asyncio.Queue[RouteTable] = asyncio.Queue()
    settings = Settings.from_env({"ROUTES_FILE": str(file)})
    async with aiohttp.ClientSession() as session:
        sources = await RouteSources.load(settings, {}, session, NoMetrics())
        sources.discover(["orders"])
        async with sources.running(taken.put), asyncio.timeout(20):
            table = await taken.get()
    assert [route.upstream.service for route in table.routes] == ["svc", "orders", "svc"]


async def test_services_that_stay_the_same_change_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(LOCATOR)
    discover = gateway.app[ROUTE_SOURCES].discover
    discover(["orders"])
    await until(gateway, ["filed", "orders", "svc"])
    table = gateway.app[CONFIGURATION].tables.current.table
    discover(["orders", "orders"])
    await gateway.app[ROUTE_SOURCES].refresh()
    assert gateway.app[CONFIGURATION].tables.current.table is table


async def test_without_the_locator_discovery_makes_no_routes(gateways: Gateways) -> None:
    gateway = await gateways.start(FILE)
    gateway.app[ROUTE_SOURCES].discover(["orders"])
    await gateway.app[ROUTE_SOURCES].refresh()
    assert await ids(gateway) == ["filed"]


async def test_a_locator_that_comes_later_finds_what_was_discovered_before(gateways: Gateways) -> None:
    gateway = await gateways.start(FILE)
    gateway.app[ROUTE_SOURCES].discover(["orders"])
    gateway.routes_file.write_text(gateway.routes_file.read_text() + LOCATOR[len(FILE) :])
    await until(gateway, ["filed", "orders", "svc"])


async def test_discovered_routes_do_not_bypass_the_gate(gateways: Gateways) -> None:
    gateway = await gateways.start(LOCATOR)
    ann = gateway.user("ann")
    assert (await ann("GET", "/svc/hello?x=1")).json["target"] == "/hello?x=1"
    assert (await gateway.nobody("GET", "/svc/hello")).code == "TOKEN_REQUIRED"
    assert (await gateway.nobody("GET", "/svc/api/v1/products")).code == "TOKEN_REQUIRED"
    for path in ("/svc/api/v1/reservations", "/svc/api/v1/Reservations/", "/svc/api/v1/reservation-seats/1"):
        assert (await ann("POST", path)).code == "NOT_IN_QUEUE", path
    for path in ("/svc/actuator", "/svc/actuator/env", "/svc/%41ctuator/env", "/SVC/hello"):
        assert (await ann("GET", path)).code == "ROUTE_NOT_FOUND", path
    assert len(gateways.service.seen) == 1
    await ann.lineup()
    assert (await ann("POST", "/svc/api/v1/reservations")).status == 200


async def test_keys_and_audiences_come_from_the_server_and_change_with_it(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    other = Issuer(key=7)
    async with serving(other) as keys:
        server.say({**routes("a"), f"{JWT}jwk-set-uri": gateways.keys.uri})
        gateway = await gateways.start(FILE, jwt_jwks_uri="", **from_server(server))
        mine, others = gateway.user("ann"), gateway.with_token(other.token("ann"))
        assert (await mine.status()).code == "NOT_IN_QUEUE"
        assert (await others.status()).code == "TOKEN_INVALID"
        server.say(
            {
                **routes("a"),
                f"{JWT}jwk-set-uri": keys.uri,
                f"{JWT}audiences[0]": "web",
                f"{JWT}audiences[1]": "app",
            }
        )
        await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
        for audience in ("app", "web"):
            caller = gateway.with_token(other.token("ann", aud=audience))
            async with asyncio.timeout(20):
                while (await caller.status()).code != "NOT_IN_QUEUE":
                    await asyncio.sleep(0.02)
        assert (await mine.status()).code == "TOKEN_INVALID"
        assert (await others.status()).code == "TOKEN_INVALID", "without one of the audiences"


async def test_an_issuer_from_the_server_finds_its_keys_and_another_one_drops_them(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    mine, other = Issuer(), Issuer(key=7)
    async with providing() as provider:
        first = provider.publish("/first", mine.jwks()["keys"])
        second = provider.publish("/second", other.jwks()["keys"])
        server.say({**routes("a"), f"{JWT}issuer-uri": first})
        gateway = await gateways.start(FILE, jwt_jwks_uri="", **from_server(server))
        ann = gateway.with_token(mine.token("ann", iss=first))
        assert (await ann.status()).code == "NOT_IN_QUEUE"
        # The one that is named next can't be read yet: its tokens are no one's to make, least of all the first's.
        document = provider.answers.pop("/second/.well-known/openid-configuration")
        server.say({**routes("a"), f"{JWT}issuer-uri": second})
        await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
        forged = gateway.with_token(mine.token("ann", iss=second))
        assert (await ann.status()).code == "AUTH_UNAVAILABLE"
        assert (await forged.status()).code == "AUTH_UNAVAILABLE"
        readiness = await gateway.nobody("GET", "/actuator/health/readiness")
        assert (readiness.status, second in readiness.body.decode()) == (503, True)
        provider.answers["/second/.well-known/openid-configuration"] = document
        bob = gateway.with_token(other.token("bob", iss=second))
        async with asyncio.timeout(20):
            while (await bob.status()).code != "NOT_IN_QUEUE":
                await asyncio.sleep(0.02)
        assert (await forged.status()).code == "TOKEN_INVALID"
        assert (await ann.status()).code == "TOKEN_INVALID"


async def test_an_issuer_that_the_server_takes_away_leaves_no_keys(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    mine = Issuer()
    async with providing() as provider:
        issuer = provider.publish("/first", mine.jwks()["keys"])
        server.say({**routes("a"), f"{JWT}issuer-uri": issuer})
        # In a Spring environment the gateway would take the default key set then, at a fixed port.
        gateway = await gateways.start(FILE, jwt_jwks_uri="", gateway_profile="plain", **from_server(server))
        ann = gateway.with_token(mine.token("ann", iss=issuer))
        forged = gateway.with_token(mine.token("ann", iss="http://evil.example"))
        assert (await ann.status()).code == "NOT_IN_QUEUE"
        assert (await forged.status()).code == "TOKEN_INVALID"
        server.say(routes("a"))
        await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
        for caller in (ann, forged):
            assert (await caller.status()).code == "AUTH_UNAVAILABLE"
        server.say({**routes("a"), f"{JWT}issuer-uri": issuer})
        await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
        async with asyncio.timeout(20):
            while (await ann.status()).code != "NOT_IN_QUEUE":
                await asyncio.sleep(0.02)
        assert (await forged.status()).code == "TOKEN_INVALID"


@pytest.mark.parametrize(
    ("environ", "table", "keys"),
    [
        ({"JWT_ISSUER": "https://auth.example"}, {}, None),
        ({"JWT_ISSUER": "HTTP://auth"}, {}, None),
        ({"JWT_ISSUER": "https://auth.example", "JWT_JWKS_URI": "http://own/keys"}, {}, "http://own/keys"),
        ({"JWT_ISSUER": "https://auth.example"}, {"jwt_jwks_uri": ("http://s/keys",)}, "http://s/keys"),
        ({"JWT_JWKS_URI": "http://own/keys"}, {"jwt_issuer": ("https://auth.example",)}, "http://own/keys"),
        ({}, {"jwt_issuer": ("https://auth.example",)}, None),
        ({}, {"jwt_issuer": ("tickets",)}, None),
        ({"JWT_ISSUER": "urn:auth"}, {}, None),
        ({"GATEWAY_PROFILE": "spring"}, {}, DEFAULT_KEY_SET),
        ({"GATEWAY_PROFILE": "spring"}, {"jwt_issuer": ("tickets",)}, DEFAULT_KEY_SET),
        (
            {"GATEWAY_PROFILE": "spring", "JWT_ISSUER": "tickets"},
            {"jwt_issuer": ("https://auth.example",)},
            DEFAULT_KEY_SET,
        ),
        ({"GATEWAY_PROFILE": "spring", "JWT_ISSUER": "https://auth.example"}, {}, None),
    ],
)
def test_only_an_issuer_that_is_an_address_is_asked_and_only_without_an_address_of_the_keys(
    environ: dict[str, str], table: dict[str, tuple[str, ...]], keys: str | None
) -> None:
    environ = {"GATEWAY_PROFILE": "plain"} | environ
    assert token_settings(Settings.from_env(environ), environ, RouteTable(tokens=table)).keys == keys


def test_the_environment_counts_before_the_server_and_that_before_the_defaults() -> None:
    table = RouteTable(
        tokens={
            "jwt_jwks_uri": ("http://server/keys",),
            "jwt_algorithms": ("ES256",),
            "jwt_issuer": ("server",),
            "jwt_audience": ("a", "b"),
        }
    )
    assert token_settings(Settings.from_env({}), {}, table) == (
        "http://server/keys",
        ("ES256",),
        "server",
        ("a", "b"),
    )
    default = "http://localhost:8090/.well-known/jwks.json"
    environ = {"JWT_JWKS_URI": default, "JWT_ALGORITHMS": "RS256", "JWT_ISSUER": "own", "JWT_AUDIENCE": "own"}
    own = (default, ("RS256",), "own", ("own",))
    assert token_settings(Settings.from_env(environ), environ, table) == own
    older = {"SPRING_SECURITY_OAUTH2_RESOURCESERVER_JWT_JWK_SET_URI": "http://own/keys"}
    assert token_settings(Settings.from_env(older), older, table)[0] == "http://own/keys"
    spring = {"GATEWAY_PROFILE": "spring"}
    assert token_settings(Settings.from_env(spring), spring, RouteTable()) == (default, ("RS256",), None, ())


async def refresh(gateway: Running) -> Answer:
    return await gateway.with_token(TOKEN)("POST", "/actuator/refresh")


async def config_health(gateway: Running) -> dict[str, Any]:
    """The component ``configServer``, without the number of attempts, which goes on by itself."""
    health = (await gateway.nobody("GET", "/actuator/health")).json
    assert health["status"] == "UP"
    told: dict[str, Any] = health["components"]["configServer"]
    del told["details"]["failures"]
    return told


async def same_outcome(running: Running, gateways: Gateways, settings: dict[str, object]) -> dict[str, Any]:
    """Starts another gateway, compares the two, and returns what health says of both."""
    started = await gateways.start(FILE, **settings)
    both = [(await gateway.nobody("GET", "/actuator/gateway/routes")).json for gateway in (running, started)]
    assert both[0] == both[1]
    told = await config_health(running)
    assert told == await config_health(started)
    return told


FILTERS = f"{NEW}.default-filters[0]"
GONE = pytest.mark.parametrize(
    ("optional", "sources"),
    [
        (True, []),
        (True, [{FILTERS: "AddRequestHeader=X-A, b"}]),
        (False, [{FILTERS: "AddRequestHeader=X-A, b"}]),
    ],
    ids=["optional, no sources", "optional, no routes", "no routes"],
)


@GONE
async def test_what_a_server_has_no_more_is_gone_from_a_running_gateway_as_from_one_that_starts(
    optional: bool,
    sources: list[dict[str, str]],
    gateways: Gateways,
    server: ConfigServerStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.say({**routes("a"), f"{JWT}issuer-uri": "http://issuer"})
    settings = from_server(server, optional)
    running = await gateways.start(FILE, **settings)
    server.say(*sources)
    first = await refresh(running)
    assert (first.status, first.code) == ((422, "CONFIG_REFUSED") if sources else (503, "CONFIG_UNAVAILABLE"))
    assert "when it says so again, it is believed" in first.json["error"]["fields"][0]["reason"]
    assert await ids(running) == ["a"]
    told = await config_health(running)
    assert (told["status"], told["details"]["routes"]) == ("UNKNOWN", "Config Server")
    second = await refresh(running)
    assert second.status == 200
    assert {f"{NEW}.routes[0].id", f"{JWT}issuer-uri"} < set(second.json)
    told = await same_outcome(running, gateways, settings)
    assert (told["status"], told["details"]["routes"]) == ("UP" if sources else "UNKNOWN", "file")
    assert ("no configuration for this name" in told["details"].get("reason", "")) is not bool(sources)
    warned = [each for each in caplog.records if "The route file counts instead" in each.getMessage()]
    assert [each.levelname for each in warned] == ["WARNING"]
    ann = running.user("ann")
    assert (await ann("GET", "/filed/x")).status == 200
    assert (("X-A", "b") in gateways.service.seen[-1]["headers"]) is bool(sources)
    server.say(routes("a", "b"))
    await refresh(running)
    told = await same_outcome(running, gateways, settings)
    assert (told["status"], told["details"]["routes"]) == ("UP", "Config Server")
    assert await ids(running) == ["a", "b"]


@GONE
async def test_what_a_config_server_no_longer_has_is_gone_at_the_next_refresh(
    optional: bool, sources: list[dict[str, str]], gateways: Gateways, server: ConfigServerStub
) -> None:
    settings = from_server(server, optional) | {"config_server_refresh_seconds": 0.05}
    running = await gateways.start(FILE, **settings)
    server.say(*sources)
    await until(running, ["filed"])
    await same_outcome(running, gateways, settings)
    server.say(routes("b"))
    await until(running, ["b"])
    assert (await config_health(running))["status"] == "UP"


@GONE
async def test_one_empty_answer_between_two_good_ones_changes_nothing(
    optional: bool, sources: list[dict[str, str]], gateways: Gateways, server: ConfigServerStub
) -> None:
    running = await gateways.start(FILE, **from_server(server, optional))
    table = running.app[CONFIGURATION].tables.current.table
    for _ in range(2):
        server.say(*sources)
        assert (await refresh(running)).status in {422, 503}
        server.say(routes("a"))
        assert (await refresh(running)).json == []
    assert running.app[CONFIGURATION].tables.current.table is table
    assert (await config_health(running))["status"] == "UP"


async def test_a_server_without_any_configuration_that_is_not_optional_is_one_that_is_away(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    running = await gateways.start(FILE, **from_server(server))
    server.say()
    for _ in range(3):
        assert (await refresh(running)).status == 503
        assert await ids(running) == ["a"]
    told = (await running.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert told["status"] == "UNKNOWN"
    assert told["details"]["routes"] == "Config Server"
    assert "no configuration for this name" in told["details"]["reason"]
    with pytest.raises(ConfigUnavailable, match="no configuration for this name"):
        await gateways.start(FILE, **from_server(server))
    without = await gateways.start(FILE, **from_server(server, optional=True))
    assert await ids(without) == ["filed"]
    told = (await without.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert (told["status"], told["details"]["routes"]) == ("UNKNOWN", "file")
    assert "no configuration for this name" in told["details"]["reason"]
    server.say(routes("a"))
    await until(without, ["a"])
    assert (await refresh(running)).status == 200
    for gateway in (running, without):
        told = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
        assert (told["status"], told["details"]["routes"]) == ("UP", "Config Server")


async def test_a_server_without_routes_leaves_them_to_the_file_and_health_says_so(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    server.say({"greeting": "hello"})
    gateway = await gateways.start(FILE, **from_server(server))
    assert await ids(gateway) == ["filed"]
    told = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert (told["status"], told["details"]["routes"]) == ("UP", "file")


async def test_labels_are_tried_in_turn(gateways: Gateways, server: ConfigServerStub) -> None:
    server.labels = {"main": 200}
    gateway = await gateways.start(FILE, **from_server(server), config_server_label="feature/x, main")
    assert await ids(gateway) == ["a"]
    assert [path for path, _ in server.asked] == [
        "/gateway-server/default/feature(_)x",
        "/gateway-server/default/main",
    ]
    told = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert told["details"]["label"] == "main"
