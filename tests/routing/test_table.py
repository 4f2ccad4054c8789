"""Resolving: the route, what goes to the service, and what never goes there."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.errors import BadRequest
from gateway.routing.attributes import RequestAttributes
from gateway.routing.path import parse_target
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from tests.routing.vectors import load_json
from tests.support.effort import least_seconds


def facts(target: str, method: str = "GET", **headers: str) -> RequestAttributes:
    return RequestAttributes(
        method, parse_target(target), CIMultiDict(headers), "127.0.0.1", "gw.test", "http"
    )


def table(*routes: dict[str, Any], **more: Any) -> RouteTable:
    filled = [{"id": f"r{at}", "uri": "lb://s", **route} for at, route in enumerate(routes)]
    return load_json({"routes": filled, **more})


def chosen(routes: RouteTable, target: str, method: str = "GET") -> str | None:
    match = routes.resolve(facts(target, method))
    return match.route.id if match else None


def test_routes_are_asked_by_order_and_then_as_in_the_file() -> None:
    routes = table(
        {"predicates": ["Path=/a/**"]},
        {"predicates": ["Path=/a/b"], "order": -1},
        {"predicates": ["Path=/**"], "order": 5},
        {"predicates": ["Path=/{x}/b"]},
        {"predicates": ["Path=/a/b"], "order": -1},
    )
    assert chosen(routes, "/a/b") == "r1"
    assert chosen(routes, "/a/c") == "r0"
    assert chosen(routes, "/z/b") == "r3"
    assert chosen(routes, "/z") == "r2"


@pytest.mark.parametrize(
    "pattern",
    ["/a/b", "/a/**", "/{x}/b", "/**", "/*/b", "/**/b", "/{*all}", "/a/{y}", "/a?/b", "/A/b", "/a/b/"],
)
@pytest.mark.parametrize("path", ["/a/b", "/a/b/", "/", "/a", "/ab/b", "/A/b", "/x/y/b"])
def test_the_index_finds_what_asking_every_route_finds(pattern: str, path: str) -> None:
    alone = table({"predicates": [f"Path={pattern}"]})
    among = table(
        *({"predicates": [f"Path=/n{at}/**"]} for at in range(20)),
        {"predicates": [f"Path={pattern}"]},
        {"predicates": ["Path=/zzz,/yyy/**"]},
    )
    assert (chosen(alone, path) is None) == (chosen(among, path) is None)


def test_without_filters_everything_goes_on_as_it_came() -> None:
    match = table({"predicates": ["Path=/**"]}).resolve(facts("/%61/%EC%98%88?x=%20&&y"))
    assert match is not None
    assert match.upstream_target == "/%61/%EC%98%88?x=%20&&y"
    assert match.upstream_path == "/a/예"
    assert (match.changes.request_headers, match.changes.response_headers, match.answer) == ((), (), None)


def test_the_path_at_the_service_is_canonical_again() -> None:
    routes = table(
        {"predicates": ["Path=/**"], "filters": [r"RewritePath=/x(?<rest>.*), /api/v1$\{rest}"]},
        gates=[{"calls": ["POST /api/v1/reservations"]}],
    )
    match = routes.resolve(facts("/x/%72eservations?q=1"))
    assert match is not None
    assert match.upstream_target == "/api/v1/%72eservations?q=1"
    assert match.upstream_path == "/api/v1/reservations"
    assert routes.gate_for("POST", "/x/%72eservations", match.upstream_path) is not None


@pytest.mark.parametrize("target", ["/x..", "/x.", "/x../b"])
def test_what_the_filters_make_ambiguous_is_refused(target: str) -> None:
    routes = table({"predicates": ["Path=/**"], "filters": [r"RewritePath=/x(?<rest>.*), /$\{rest}"]})
    with pytest.raises(BadRequest):
        routes.resolve(facts(target))


def test_empty_segments_that_the_filters_leave_are_folded() -> None:
    routes = table({"predicates": ["Path=/**"], "filters": [r"RewritePath=/x(?<rest>.*), /a/$\{rest}"]})
    match = routes.resolve(facts("/x/b"))
    assert match is not None
    assert match.upstream_target == "/a/b"


@pytest.mark.parametrize(
    "target",
    ["/svc/actuator", "/svc/actuator/env", "/svc/Actuator/env", "/svc/ACTUATOR/", "/svc/%61ctuator/env"],
)
def test_no_route_leads_into_a_services_actuator_unless_its_metadata_allow_it(target: str) -> None:
    route = {"predicates": ["Path=/svc/**"], "filters": ["StripPrefix=1"]}
    assert chosen(table(route, {"predicates": ["Path=/**"]}), target) is None
    assert chosen(table({**route, "metadata": {"allow-actuator": True}}), target) == "r0"
    assert chosen(table({"predicates": ["Path=/**"]}), target) == "r0", "not below /actuator there"


def test_only_what_is_below_actuator_is_meant() -> None:
    assert chosen(table({"predicates": ["Path=/**"]}), "/actuators/1") == "r0"
    assert chosen(table({"predicates": ["Path=/**"]}), "/a/actuator") == "r0"


def test_a_route_that_leads_nowhere_needs_a_filter_that_answers() -> None:
    answering = table({"uri": "no://op", "predicates": ["Path=/**"], "filters": ["RedirectTo=302, /x"]})
    match = answering.resolve(facts("/a"))
    assert match is not None
    assert match.answer is not None
    assert (match.answer.status, match.answer.headers) == (302, (("Location", "/x"),))
    for filters in ([], ["StripPrefix=1"]):
        with pytest.raises(RouteFileError, match="leads nowhere"):
            table({"uri": "no://op", "predicates": ["Path=/**"], "filters": filters})


def test_weights_share_the_requests_of_their_group() -> None:
    draws = iter([at / 100 for at in range(100)])
    routes = table(
        {"predicates": ["Path=/**", "Weight=g, 8"]},
        {"predicates": ["Path=/**", "Weight=g, 2"]},
        {"predicates": ["Path=/**", "Weight=g, 0"]},
    )
    drawn = replace(routes, draw=lambda: next(draws))
    assert Counter(chosen(drawn, "/a") for _ in range(100)) == {"r0": 80, "r1": 20}


def test_a_table_can_be_asked_for_a_route_and_a_public_call() -> None:
    routes = table({"predicates": ["Path=/**"]}, access={"public": ["GET /open/*"]})
    assert routes.route("r0") is routes.routes[0]
    assert routes.route("none") is None
    assert routes.is_public("HEAD", "/open/x")
    assert not routes.is_public("GET", "/Open/x")


def test_the_cost_of_resolving_does_not_grow_with_the_number_of_routes() -> None:
    """A hundred times the routes take less than five times as long, where asking each would take a hundred."""

    def cost(count: int) -> float:
        routes = table(*({"predicates": [f"Path=/api/v1/service{at}/**"]} for at in range(count)))
        request = facts(f"/api/v1/service{count - 1}/x")

        def resolve() -> None:
            for _ in range(200):
                routes.resolve(request)

        return least_seconds(resolve, 0, tries=20)

    assert cost(1000) < 5 * cost(10)


LONG_HEADS = {
    "empty members of a header": ("/x", [("X-A", "," * 8100)]),
    "blank members of a header": ("/x", [("X-A", " ," * 4000 + '"')]),
    "quoted members of a header": ("/x", [("X-A", '"a",' * 2000)] * 7),
    "parameters without values": ("/x?" + "a&" * 4000, []),
    "parameters to decode": ("/x?" + "%41&" * 2000, []),
    "signs for many letters": ("/a/" + "%EF%B7%BA" * 900, []),
    "many marks on one letter": ("/a/" + "%CD%84%CC%95" * 680, []),
}


@pytest.mark.parametrize("what", LONG_HEADS)
def test_many_rules_about_one_long_request_take_little_time(what: str) -> None:
    """10 ms, and as much again for a slow machine. Each of these once took 14 to 310 ms."""
    target, headers = LONG_HEADS[what]
    routes = table(
        *({"predicates": ["Path=/**", f"Header=X-A, a{at}"]} for at in range(100)),
        *({"predicates": ["Path=/**", f"Query=a, a{at}"]} for at in range(200)),
        {
            "predicates": ["Path=/**"],
            "filters": ["StripPrefix=1", *(f"RemoveRequestParameter=a{at}" for at in range(10))],
        },
        gates=[{"calls": ["POST /api/{x}/b"]}],
    )

    def judge() -> None:
        with suppress(BadRequest):
            about = replace(facts(target), headers=CIMultiDict(headers))
            match = routes.resolve(about)
            assert match is not None
            routes.gate_for("POST", about.target.path, match.upstream_path)

    assert least_seconds(judge, 0.02) < 0.02
