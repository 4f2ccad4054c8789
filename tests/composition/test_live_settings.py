"""Settings that a Config Server gives, in a whole gateway: what changes with a refresh, and what counts before what."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import web

from gateway.app import POOL
from gateway.composition.live_settings import AT_START, LiveSettings, is_set, with_own_names
from gateway.composition.warnings import warnings_of_settings
from gateway.context import CONFIGURATION, OBSERVERS, ROOMS
from gateway.discovery.config_server.properties import properties_of
from gateway.errors import SettingsError
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from tests.support.config_server import ConfigServerStub, answer_of, config_server, routes
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening

pytestmark = pytest.mark.usefixtures("quick_retries")

NEW = "spring.cloud.gateway.server.webflux"
URLS = "springdoc.swagger-ui.urls"
TAGS = "management.metrics.tags"
FILE = """
routes: []
services: {svc: ['%(service)s']}
gates: [{calls: [POST /svc/gated]}]
access: {public: [GET /svc/**]}
"""
TOKEN = "operator-token-of-the-test"


@pytest.fixture
async def server() -> AsyncIterator[ConfigServerStub]:
    async with config_server() as stub:
        stub.say(routes("svc"))
        yield stub


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        ("${spring.application.name}:${server.port}", {}, "gateway-server:8080"),
        ("${spring.application.name}", {"SPRING_APPLICATION_NAME": "gw"}, "gw"),
        ("${spring.cloud.client.hostname}", {}, socket.gethostname()),
        ("${spring.cloud.client.ip-address}", {"EUREKA_INSTANCE_IPADDRESS": "10.1.2.3"}, "10.1.2.3"),
        ("${spring.cloud.client.ip-address}", {"SERVER_HOST": "10.1.2.4"}, "10.1.2.4"),
        ("${spring.cloud.client.ip-address}", {"SPRING_CLOUD_CLIENT_IP_ADDRESS": "10.1.2.5"}, "10.1.2.5"),
    ],
)
def test_a_placeholder_of_what_spring_knows_by_itself_has_a_value(
    text: str, environ: dict[str, str], value: str
) -> None:
    seen = with_own_names(Settings.from_env(environ), environ)
    assert properties_of(answer_of({f"{TAGS}.instance": text}), seen).values == {f"{TAGS}.instance": value}


def test_the_machine_has_an_address_whatever_it_listens_on() -> None:
    seen = with_own_names(Settings.from_env({}), {})
    assert ip_address(seen["SPRING_CLOUD_CLIENT_IP_ADDRESS"])


class Site:
    """A gateway that follows the Config Server."""

    def __init__(self, gateway: Running, server: ConfigServerStub, service: Any) -> None:
        self.gateway = gateway
        self._server = server
        self._service = service

    async def says(self, properties: dict[str, Any]) -> None:
        """Puts properties beside the route in force."""
        self._server.say({**routes("svc"), **properties})
        answer = await self.gateway.with_token(TOKEN)("POST", "/actuator/refresh")
        assert answer.status == 200, answer.body

    async def sent(self, **headers: str) -> dict[str, str]:
        """What the service gets of a call with these headers."""
        asked = {name.replace("_", "-"): value for name, value in headers.items()}
        assert (await self.gateway.nobody("GET", "/svc/x", headers=asked)).status == 200
        return {name.lower(): value for name, value in self._service.seen[-1]["headers"]}


@pytest.fixture
async def start(gateways: Gateways, server: ConfigServerStub) -> Any:
    async def begin(properties: dict[str, Any] | None = None, **changes: object) -> Site:
        server.say({**routes("svc"), **(properties or {})})
        settings = {
            "spring_config_import": f"configserver:{server.url}",
            "config_server_refresh_seconds": 0,
            "management_token": TOKEN,
            "allowed_in_max_capacity": 100,  # the default, which the harness would change
        }
        return Site(await gateways.start(FILE, **(settings | changes)), server, gateways.service)

    return begin


async def test_time_outs_count_from_the_next_request_on(start: Any, gateways: Gateways) -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", slow)
    async with listening(web.AppRunner(app, shutdown_timeout=0.1)) as url:
        own = {f"{NEW}.routes[0].uri": url}
        site = await start({**own, f"{NEW}.httpclient.response-timeout": "50ms"})
        assert (await site.gateway.nobody("GET", "/svc/x")).code == "UPSTREAM_TIMEOUT"
        await site.says({**own, f"{NEW}.httpclient.response-timeout": "20s"})
        release.set()
        assert (await site.gateway.nobody("GET", "/svc/x")).status == 200
    await site.says({f"{NEW}.httpclient.connect-timeout": 1234})
    assert site.gateway.app[CONFIGURATION].settings.proxy_connect_timeout_seconds == 1.234


async def test_idle_connections_are_kept_as_the_pool_says(start: Any) -> None:
    site = await start({f"{NEW}.httpclient.pool.max-idle-time": "30s"})
    pool = site.gateway.app[POOL]
    await site.sent()
    assert sum(map(len, pool._idle.values())) == 1
    await site.says({f"{NEW}.httpclient.pool.type": "disabled"})
    await site.sent()
    assert sum(map(len, pool._idle.values())) == 0


async def test_headers_about_the_client_are_written_as_the_server_says(start: Any) -> None:
    site = await start(trusted_proxies="127.0.0.1")
    client = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Host": "shop.example"}
    seen = await site.sent(**client)
    assert seen["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert {"forwarded", "x-real-ip", "x-forwarded-proto", "x-forwarded-port"} < set(seen)
    await site.says({f"{NEW}.x-forwarded.for-append": False, f"{NEW}.forwarded.enabled": False})
    seen = await site.sent(**client)
    assert (seen["x-forwarded-for"], seen["x-forwarded-host"]) == ("127.0.0.1", "shop.example")
    assert "forwarded" not in seen
    await site.says({f"{NEW}.x-forwarded.enabled": False})
    seen = await site.sent(**client)
    assert seen["x-forwarded-for"] == "203.0.113.9", "as the trusted proxy sent it"
    assert "x-forwarded-proto" not in seen
    assert "forwarded" in seen
    await site.says({f"{NEW}.x-forwarded.port-enabled": False})
    seen = await site.sent(**client)
    assert "x-forwarded-port" not in seen
    assert seen["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"


@pytest.mark.parametrize(
    "spelling", ["X-Forwarded-For", "x_forwarded_for", "X-Forwarded_For", "Forwarded", "X-Real-IP"]
)
async def test_what_is_not_written_does_not_come_from_strangers(start: Any, spelling: str) -> None:
    site = await start({f"{NEW}.x-forwarded.enabled": False, f"{NEW}.forwarded.enabled": False})
    assert (await site.gateway.nobody("GET", "/svc/x", headers={spelling: "for=203.0.113.9"})).status == 200
    seen = await site.sent()
    assert "203.0.113.9" not in str(site._service.seen[-2]["headers"])
    assert "forwarded" not in "".join(seen)
    assert seen["x-real-ip"] == "127.0.0.1"


async def test_trusted_proxies_are_those_of_the_regex_and_those_of_the_networks(start: Any) -> None:
    site = await start()
    client = {"X_Forwarded_For": "203.0.113.9"}
    assert (await site.sent(**client))["x-real-ip"] == "127.0.0.1"
    await site.says({f"{NEW}.trusted-proxies": r"127\.0\.0\.\d+"})
    assert (await site.sent(**client))["x-real-ip"] == "203.0.113.9"
    await site.says({f"{NEW}.trusted-proxies": r"10\..*|127"})
    assert (await site.sent(**client))["x-real-ip"] == "127.0.0.1", "the whole address must match"
    with_network = await start({f"{NEW}.trusted-proxies": r"10\..*"}, trusted_proxies="127.0.0.0/8")
    assert (await with_network.sent(**client))["x-real-ip"] == "203.0.113.9"


async def test_the_room_has_the_capacity_of_the_server(start: Any) -> None:
    site = await start({"queue.max-capacity": 1, "queue.allowed-in-duration-seconds": 600})
    states = [(await site.gateway.user(name).lineup()).json["state"] for name in ("ann", "bob", "cyd")]
    assert states == ["ALLOWED_IN", "WAITING", "WAITING"]
    assert site.gateway.app[ROOMS]["default"].limits.duration == 600
    await site.says({"queue.max-capacity": 2})
    async with asyncio.timeout(20):
        while (await site.gateway.user("bob").status()).json.get("state") != "ALLOWED_IN":
            await asyncio.sleep(0.05)
    assert (await site.gateway.user("cyd").status()).json["state"] == "WAITING"


async def test_a_room_of_the_file_is_as_the_file_says(gateways: Gateways, server: ConfigServerStub) -> None:
    server.say({**routes("svc"), "queue.max-capacity": 1000})
    file = FILE + "rooms: {default: {capacity: 1}}\n"
    gateway = await gateways.start(file, spring_config_import=f"configserver:{server.url}")
    assert gateway.app[ROOMS]["default"].limits.capacity == 1


async def test_the_share_of_traces_changes_at_once(start: Any) -> None:
    site = await start({"management.tracing.sampling.probability": 1.0})
    assert (await site.sent())["traceparent"].endswith("-01")
    await site.says({"management.tracing.sampling.probability": 0})
    assert (await site.sent())["traceparent"].endswith("-00")


async def test_spans_go_where_the_server_says(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    posted = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        posted.set()
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/spans", take)
    async with listening(web.AppRunner(app, shutdown_timeout=0.1)) as url:
        properties = {
            "management.zipkin.tracing.endpoint": f"{url}/spans",
            "management.tracing.sampling.probability": 1,
        }
        # The default of a Spring environment, which the harness would change.
        default = Settings.from_env({"GATEWAY_PROFILE": "spring"}).zipkin_endpoint
        site = await start(properties, zipkin_endpoint=default)
        await site.sent()
        async with asyncio.timeout(20):
            await posted.wait()
        for _ in range(2):
            await site.says(properties | {"management.zipkin.tracing.endpoint": "http://ann:secret@other"})
            await site.says(properties)
        told = [each for each in caplog.records if "counts from the next start on" in each.getMessage()]
        assert [(each.levelname, each.getMessage().split()[-7]) for each in told] == [
            ("WARNING", "ZIPKIN_ENDPOINT")
        ]
        assert "secret" not in caplog.text


async def test_tags_are_on_all_metrics_under_springs_names(start: Any) -> None:
    site = await start(
        {
            f"{TAGS}.application": "shop",
            f"{TAGS}.data-center": 'a"b',
            f"{TAGS}.status": "own",
            f"{TAGS}.le": "x",
        },
        metrics_spring_names="true",
    )
    await site.sent()
    registry = site.gateway.app[OBSERVERS].metrics.registry
    families = {each.name: each for each in registry.collect()}
    for name in (
        "http_server_requests_seconds",
        "spring_cloud_gateway_requests_seconds",
        "spring_cloud_gateway_routes_count",
    ):
        for sample in families[name].samples:
            assert (sample.labels["application"], sample.labels["data_center"]) == ("shop", 'a"b')
            assert sample.labels.get("status") != "own"


async def test_the_list_of_descriptions_is_the_servers(start: Any) -> None:
    site = await start({f"{URLS}[0].name": "Queue", f"{URLS}[0].url": "/v3/api-docs"})
    config = (await site.gateway.nobody("GET", "/v3/api-docs/swagger-config")).json
    assert config["urls"] == [{"url": "/v3/api-docs", "name": "Queue"}]
    assert "urls.primaryName" not in config
    await site.says(
        {
            f"{URLS}[0].url": "/v3/api-docs",
            f"{URLS}[1].name": "Pay",
            f"{URLS}[1].url": "/pay/v3/api-docs",
            "springdoc.swagger-ui.urls-primary-name": "Pay",
        }
    )
    config = (await site.gateway.nobody("GET", "/v3/api-docs/swagger-config")).json
    assert [each["name"] for each in config["urls"]] == ["/v3/api-docs", "Pay"]
    assert config["urls.primaryName"] == "Pay"


async def test_default_filters_and_secure_headers_are_the_servers(start: Any) -> None:
    site = await start(
        {
            f"{NEW}.default-filters[0]": "SecureHeaders",
            f"{NEW}.filter.secure-headers.frame-options": "SAMEORIGIN",
            f"{NEW}.filter.secure-headers.disable[0]": "x-download-options",
        }
    )
    answer = await site.gateway.nobody("GET", "/svc/x")
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "X-Download-Options" not in answer.headers
    assert "X-Permitted-Cross-Domain-Policies" in answer.headers


async def test_a_variable_counts_before_the_server_and_says_so_once(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = await start({"queue.max-capacity": 7}, allowed_in_max_capacity=5)
    assert site.gateway.app[ROOMS]["default"].limits.capacity == 5
    await site.says({"queue.max-capacity": 7, f"{NEW}.httpclient.connect-timeout": 5})
    await site.says({"queue.max-capacity": 5})
    told = [each.getMessage() for each in caplog.records if "counts before" in each.getMessage()]
    assert told == ["the variable ALLOWED_IN_MAX_CAPACITY counts before what the Config Server has for it"]


async def test_a_wrong_value_changes_nothing(start: Any, server: ConfigServerStub) -> None:
    site = await start({"queue.max-capacity": 7})
    server.say({**routes("svc", "more"), "queue.max-capacity": "x"})
    answer = await site.gateway.with_token(TOKEN)("POST", "/actuator/refresh")
    assert (answer.status, answer.code) == (422, "CONFIG_REFUSED")
    assert "queue.max-capacity: ALLOWED_IN_MAX_CAPACITY: allowed is" in answer.body.decode()
    assert len(site.gateway.app[CONFIGURATION].tables.current.table.routes) == 1
    assert site.gateway.app[ROOMS]["default"].limits.capacity == 7


def live(given: dict[str, Any], **environ: str) -> Settings:
    return LiveSettings(Settings.from_env(environ), environ, RouteTable(given=given)).now


def test_a_variable_counts_also_with_the_default_as_its_value_and_where_it_says_off() -> None:
    given = {"zipkin_endpoint": "http://z", "allowed_in_max_capacity": 5, "metrics_tags": (("a", "b"),)}
    now = live(given)
    assert (now.zipkin_endpoint, now.allowed_in_max_capacity) == ("http://z", 5)
    assert live(given, ALLOWED_IN_MAX_CAPACITY="100").allowed_in_max_capacity == 100
    assert live(given, ZIPKIN_ENDPOINT="").zipkin_endpoint is None
    assert live(given, MANAGEMENT_METRICS_TAGS_TEAM="x").metrics_tags == (("team", "x"),)
    assert live(given, ALLOWED_IN_MAX_CAPACITY=" ").allowed_in_max_capacity == 5


@pytest.mark.parametrize(
    "variable",
    ["SPRING_CLOUD_GATEWAY_XFORWARDED_ENABLED", "SPRING_CLOUD_GATEWAY_SERVER_WEBFLUX_FORWARDED_ENABLED"],
)
def test_a_switch_that_says_the_default_is_a_variable_too(variable: str) -> None:
    given = {"forwarded_headers": ("forwarded",)}
    assert live(given).forwarded_headers == ("forwarded",)
    assert live(given, **{variable: "true"}).forwarded_headers == Settings().forwarded_headers


def test_a_disabled_pool_keeps_no_connections_unless_the_own_variable_says_how_long() -> None:
    def kept(**environ: str) -> float:
        return live({"proxy_keep_alive_seconds": 9.0}, **environ).proxy_keep_alive_seconds

    older, newer = (
        f"SPRING_CLOUD_GATEWAY_{generation}HTTPCLIENT_POOL_" for generation in ("", "SERVER_WEBFLUX_")
    )
    assert kept() == kept(**{f"{older}TYPE": "ELASTIC"}) == 9.0
    assert kept(**{f"{older}TYPE": "DISABLED"}) == 0.0
    assert kept(**{f"{older}TYPE": "disabled", f"{older}MAXIDLETIME": "15s"}) == 0.0
    assert kept(**{f"{older}TYPE": "disabled", f"{newer}TYPE": "fixed"}) == 9.0
    assert kept(**{f"{older}TYPE": "disabled", "PROXY_KEEP_ALIVE_SECONDS": "4"}) == 4.0


def test_an_older_name_is_a_variable_too() -> None:
    environ = {"MANAGEMENT_ZIPKIN_TRACING_ENDPOINT": Settings().zipkin_endpoint or ""}
    assert is_set(Settings.from_env(environ), environ, "ZIPKIN_ENDPOINT")
    assert not is_set(Settings(), {}, "ZIPKIN_ENDPOINT")


def test_what_counts_at_the_start_alone_is_known() -> None:
    assert AT_START == ("metrics_tags", "zipkin_endpoint")


async def test_a_variable_with_a_bad_regex_stops_the_start(gateways: Gateways) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES_PATTERN"):
        await gateways.start(FILE, trusted_proxies_pattern="10.(")


def test_check_warns_of_a_regex_that_is_everyone() -> None:
    def warned(pattern: str) -> str:
        environ = {"TRUSTED_PROXIES_PATTERN": pattern}
        return "\n".join(warnings_of_settings(Settings.from_env(environ), environ))

    assert "TRUSTED_PROXIES_PATTERN: every address is trusted" in warned(".*")
    assert "TRUSTED_PROXIES_PATTERN" not in warned(r"10\..*")


@pytest.mark.parametrize(
    ("environ", "setting", "value"),
    [
        ({"WEBFLUX_XFORWARDED_ENABLED": "false"}, "forwarded_headers", ("forwarded",)),
        ({"XFORWARDED_ENABLED": "no", "FORWARDED_ENABLED": "0"}, "forwarded_headers", ()),
        (
            {"XFORWARDED_ENABLED": "false", "WEBFLUX_XFORWARDED_ENABLED": "true"},
            "forwarded_headers",
            Settings().forwarded_headers,
        ),
        (
            {"WEBFLUX_XFORWARDED_PORTENABLED": "false"},
            "forwarded_headers",
            ("forwarded", "for", "host", "proto", "prefix"),
        ),
        ({"WEBFLUX_XFORWARDED_FORAPPEND": "false"}, "forwarded_for_chain", False),
        ({"TRUSTEDPROXIES": "10\\..*"}, "trusted_proxies_pattern", "10\\..*"),
    ],
)
def test_springs_variables_say_what_springs_properties_do(
    environ: dict[str, str], setting: str, value: object
) -> None:
    prefix = "SPRING_CLOUD_GATEWAY_"
    names = {prefix + name.replace("WEBFLUX", "SERVER_WEBFLUX"): text for name, text in environ.items()}
    assert getattr(Settings.from_env(names), setting) == value


def test_springs_variables_of_descriptions_and_labels_are_put_together() -> None:
    beginning = "SPRINGDOC_SWAGGERUI_URLS_"
    settings = Settings.from_env(
        {
            f"{beginning}10_URL": "/z",
            f"{beginning}2_URL": "/pay",
            f"{beginning}2_NAME": "Pay",
            "MANAGEMENT_METRICS_TAGS_TEAM": "tickets",
            "SPRINGDOC_SWAGGERUI_URLSPRIMARYNAME": "Pay",
        }
    )
    assert settings.api_documents == (("Pay", "/pay"), ("/z", "/z"))
    assert settings.api_document_first == "Pay"
    assert settings.metrics_tags == (("team", "tickets"),)
    with pytest.raises(SettingsError, match="SPRING_CLOUD_GATEWAY_FORWARDED_ENABLED"):
        Settings.from_env({"SPRING_CLOUD_GATEWAY_FORWARDED_ENABLED": "maybe"})
    with pytest.raises(SettingsError, match="MANAGEMENT_METRICS_TAGS_TEAM"):
        Settings.from_env({"MANAGEMENT_METRICS_TAGS_TEAM": "a,b"})
