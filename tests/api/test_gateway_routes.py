"""Spring Cloud Gateway's own actuator calls, held against what an original was seen to answer."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from gateway.api.gateway_routes import MIDDLEWARES
from gateway.routing.factories import FILTERS, PREDICATES
from tests.support.config_server import config_server, routes
from tests.support.gateway import Gateways

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "spring" / "actuator.json").read_text())
SEEN = {case["id"]: case for case in VECTORS["cases"] if "request" in case}
TOKEN = "operator-token-of-the-test"
ORDER = "spring.cloud.gateway.server.webflux.routes[0].order"


async def test_springs_filters_have_springs_order(gateways: Gateways) -> None:
    gateway = await gateways.start(metrics_spring_names=True)
    answer = await gateway.nobody("GET", "/actuator/gateway/globalfilters")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    seen = {name.partition("@")[0]: order for name, order in SEEN["globalfilters"]["body"].items()}
    # The recorded one had no metrics.
    seen["org.springframework.cloud.gateway.filter.GatewayMetricsFilter"] = 0
    spring = {name: order for name, order in answer.json.items() if name.startswith("org.springframework.")}
    assert spring.items() <= seen.items()
    assert list(answer.json.values()) == sorted(answer.json.values())


async def test_the_steps_are_those_that_calls_pass(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", "/actuator/gateway/globalfilters")
    passed = [f"{each.__module__}.{each.__name__}" for each in gateway.app.middlewares]
    assert list(answer.json)[: len(MIDDLEWARES)] == passed == list(MIDDLEWARES)
    for name in MIDDLEWARES:
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module), function))
    assert not [name for name in answer.json if name.endswith("GatewayMetricsFilter")]


async def test_filters_and_predicates_are_named_as_in_spring(gateways: Gateways) -> None:
    gateway = await gateways.start()
    filters = (await gateway.nobody("GET", "/actuator/gateway/routefilters")).json
    name_value = "AbstractNameValueGatewayFilterFactory.NameValueConfig"
    assert {
        f"[AddRequestHeaderGatewayFilterFactory configClass = {name_value}]",
        f"[AddResponseHeaderGatewayFilterFactory configClass = {name_value}]",
        "[RemoveRequestHeaderGatewayFilterFactory configClass = AbstractGatewayFilterFactory.NameConfig]",
        "[PreserveHostHeaderGatewayFilterFactory configClass = Object]",
        "[RequestSizeGatewayFilterFactory configClass = RequestSizeGatewayFilterFactory.RequestSizeConfig]",
        "[RewritePathGatewayFilterFactory configClass = RewritePathGatewayFilterFactory.Config]",
    } <= set(filters)
    predicates = (await gateway.nobody("GET", "/actuator/gateway/routepredicates")).json
    assert {
        "[PathRoutePredicateFactory configClass = PathRoutePredicateFactory.Config]",
        "[WeightRoutePredicateFactory configClass = WeightConfig]",
    } <= set(predicates)
    assert (len(filters), len(predicates)) == (len(FILTERS), len(PREDICATES))
    assert set(filters.values()) == set(predicates.values()) == {None}


async def test_the_index_names_them_and_the_refresh_only_with_a_token(gateways: Gateways) -> None:
    closed, open_ = await gateways.start(), await gateways.start(management_token=TOKEN)
    refresh = {"href": "/actuator/gateway/refresh", "methods": ["POST"]}
    for gateway, there in ((closed, False), (open_, True)):
        index = (await gateway.nobody("GET", "/actuator/gateway")).json
        hrefs = [entry["href"] for entry in index]
        for name in ("globalfilters", "routefilters", "routepredicates", "routes", "routes/seats"):
            assert f"/actuator/gateway/{name}" in hrefs
        assert (refresh in index) is there


async def test_a_refresh_needs_the_management_token(gateways: Gateways) -> None:
    path = "/actuator/gateway/refresh"
    closed, open_ = await gateways.start(), await gateways.start(management_token=TOKEN)
    assert (await closed.with_token(TOKEN)("POST", path)).status == 404
    assert (await open_.nobody("POST", path)).code == "TOKEN_REQUIRED"
    assert (await open_.with_token("wrong")("POST", path)).code == "TOKEN_INVALID"
    assert (await open_.user("someone")("POST", path)).code == "TOKEN_INVALID"
    assert (await open_.with_token(TOKEN)("GET", path)).status == 405
    answer = await open_.with_token(TOKEN)("POST", path)
    assert (answer.status, answer.body) == (200, b"")


async def test_a_refresh_reads_the_file_and_answers_once_it_is_in_force(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    operator = gateway.with_token(TOKEN)
    good = gateway.routes_file.read_text()
    gateway.routes_file.write_text(good.replace("id: nobody", "id: renamed"))
    assert (await operator("POST", "/actuator/gateway/refresh")).status == 200
    assert (await operator("GET", "/actuator/gateway/routes/renamed")).status == 200
    gateway.routes_file.write_text("routes: [{id: broken}]")
    refused = await operator("POST", "/actuator/gateway/refresh")
    assert (refused.status, refused.code) == (422, "CONFIG_REFUSED")
    assert (await operator("GET", "/actuator/gateway/routes/renamed")).status == 200


async def test_a_refresh_reads_the_config_server(gateways: Gateways) -> None:
    async with config_server() as server:
        server.say(routes("a"))
        gateway = await gateways.start(
            spring_config_import=f"configserver:{server.url}",
            config_server_refresh_seconds=0,
            management_token=TOKEN,
        )
        server.say({**routes("a"), ORDER: 7})
        answer = await gateway.with_token(TOKEN)("POST", "/actuator/gateway/refresh")
        assert (answer.status, answer.body) == (200, b"")
        listed = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
        assert [route["order"] for route in listed] == [7]
