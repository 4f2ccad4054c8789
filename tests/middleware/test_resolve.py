"""Finding what answers a call: what is remembered is what would be found."""

from __future__ import annotations

from gateway.api.service_calls import forward_to_service
from gateway.context import CONFIGURATION, LiveTable, ResolvedCall
from gateway.middleware.resolve import RESOLVER
from gateway.routing.path import parse_target
from gateway.routing.spec.loader import parse
from gateway.routing.table import RouteMatch
from tests.support.gateway import Gateways

PLAIN = b"""
routes:
  - {id: a, uri: "http://127.0.0.1:1", predicates: [Path=/a/**, Method=GET]}
  - {id: b, uri: "http://127.0.0.1:1", predicates: [Path=/b/**], filters: [RequestHeaderSize=1KB]}
  - {id: c, uri: "http://127.0.0.1:1", predicates: [Path=/c/**], filters: ["RewritePath=/c/(.*), /$1", PrefixPath=/d]}
"""


def located(live: LiveTable, target: str, route: int = 0) -> ResolvedCall:
    table = live.current.table
    parsed = parse_target(target)
    return ResolvedCall(
        parsed, RouteMatch(table.routes[route], {}, target, parsed.path), forward_to_service, None
    )


def test_a_call_is_remembered_until_the_table_changes() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    found = located(live, "/a/1")
    live.current.cache_call("GET", "/a/1", found)
    assert live.current.resolved == {("GET", "/a/1"): found}
    live.replace(live.current.table)
    assert live.current.resolved == {}


def test_only_what_path_and_method_decide_is_remembered() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    live.current.cache_call("GET", "/b/1", located(live, "/b/1", route=1))
    assert live.current.resolved == {}
    by_header = PLAIN.replace(b"Method=GET", b"Header=X-Beta")
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    live.current.cache_call("GET", "/a/1?access_token=secret", located(live, "/a/1?access_token=secret"))
    assert live.current.resolved == {}
    live = LiveTable(parse(by_header, "routes.yaml", {}))
    live.current.cache_call("GET", "/a/1", located(live, "/a/1"))
    assert live.current.resolved == {}


def test_a_call_whose_path_filters_rewrite_is_remembered_too() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    found = located(live, "/c/1", route=2)
    live.current.cache_call("GET", "/c/1", found)
    assert live.current.resolved == {("GET", "/c/1"): found}


async def test_own_calls_that_do_not_exist_are_not_remembered(gateways: Gateways) -> None:
    gateway = await gateways.start()
    plain = gateway.app[RESOLVER]._endpoint_cache
    for path in ("/actuator/health", "/actuator/health/readiness"):
        assert (await gateway.nobody("OPTIONS", path)).status == 200
    known = set(plain)
    for number in range(5):
        for method, path in (
            ("GET", f"/api/v1/queue/x{number}"),
            ("PUT", f"/actuator/health/x{number}"),
            ("OPTIONS", f"/actuator/health/x{number}"),
            ("OPTIONS", f"/api/v1/queue/x{number}"),
        ):
            assert (await gateway.nobody(method, path)).status in {200, 404, 405}
    assert set(plain) == known == {("OPTIONS", "/actuator/health"), ("OPTIONS", "/actuator/health/readiness")}


def test_what_is_remembered_is_bounded() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    for number in range(10_000):
        live.current.cache_call("GET", f"/a/{number}", located(live, f"/a/{number}"))
        assert len(live.current.resolved) <= 4096
    live.current.cache_call("GET", "/a/" + "x" * 300, located(live, "/a/" + "x" * 300))
    assert all(len(raw) < 300 for _, raw in live.current.resolved)


async def test_a_call_is_found_the_second_time_as_the_first(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("someone")
    for _ in range(3):
        assert (await user("GET", "/api/v1/products/1")).status == 200
        assert (await user("POST", "/api/v1/reservations")).code == "NOT_IN_QUEUE"
        assert (await user("POST", "/shop/reservations.json")).code == "NOT_IN_QUEUE"
        assert (await gateway.nobody("POST", "/api/v1/products/1")).status == 401
        assert (await user("GET", "/nowhere")).status == 404
        assert (await user("POST", "/api/v1/queue/lineup")).status == 200
        assert (await user("POST", "/api/v1/queue/leave")).status == 204
    assert [seen["target"] for seen in gateways.service.seen] == ["/api/v1/products/1"] * 3
    assert len(gateway.app[CONFIGURATION].tables.current.resolved) == 4
