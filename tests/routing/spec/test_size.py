"""Large tables: the last rule of thousands is found in time, and what takes too long is refused and told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.routing import matcher, table
from gateway.routing.attributes import RequestAttributes
from gateway.routing.matcher import MatchingTimeout
from gateway.routing.path import parse_target
from gateway.routing.predicates import Host
from gateway.routing.table import RouteTable
from tests.routing.vectors import load_json

MANY = 600


@pytest.fixture(autouse=True)
def _little_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that hundreds of routes are too many, not thousands, which take long to load."""
    monkeypatch.setattr(matcher, "ROUTE_MICROSECONDS", 700)
    table._LOGGED.clear()
    yield
    table._LOGGED.clear()


def facts(target: str = "/x", host: str = "gw.test", **headers: str) -> RequestAttributes:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return RequestAttributes("GET", parse_target(target), named, "127.0.0.1", host, "http")


def large(*predicates: str, more: tuple[str, ...] = (), **sections: Any) -> RouteTable:
    """A table with a route ``t0``, ``t1``, … for each tenant, and ``more`` ones behind."""
    routes = [
        {"id": f"t{at}", "uri": "http://h", "predicates": [each.replace("#", str(at)) for each in predicates]}
        for at in range(MANY)
    ]
    routes += [{"id": each, "uri": "http://h", "predicates": [each]} for each in more]
    return load_json({"routes": routes, "gates": [], **sections})


def taken(routes: RouteTable, request: RequestAttributes) -> str | None:
    match = routes.resolve(request)
    return match.route.id if match else None


@pytest.mark.parametrize(
    ("predicates", "request_of_last"),
    [
        (["Host=t#.example.org"], {"host": "T599.example.org"}),
        (["Host=t#.example.org,www.t#.example.org"], {"host": "www.t599.example.org"}),
        (["Host=**.t#.example.org"], {"host": "a.b.t599.example.org"}),
        (["Host=t#.**"], {"host": "t599.example.org:8080"}),
        (["Header=X-Tenant, t#"], {"x_tenant": "t599"}),
        (["Header=X-Tenant, t#"], {"x_tenant": "a, t599"}),
        (["Header=X-Tenant, t#-.*"], {"x_tenant": "t599-x"}),
        (["Query=tenant, t#"], {"target": "/x?tenant=t599"}),
        (["Cookie=tenant, t#"], {"cookie": "tenant=t599"}),
        (["Path=/shop-#-*"], {"target": "/shop-599-a%20b"}),
        (["Path=/api/v#-{rest}/**"], {"target": "/api/v599-x/a"}),
        (["Path=/*-#"], {"target": "/shop-599"}),
        (["Path=/{a}-{b}-#.html"], {"target": "/shop-x-599.html"}),
        (
            ["Path=/api/**", "Host=api.example.org", "Header=X-Tenant, t#"],
            {"target": "/api/x", "host": "api.example.org", "x_tenant": "t599"},
        ),
    ],
)
def test_the_last_of_thousands_of_tenants_has_its_route(
    predicates: list[str], request_of_last: dict[str, str]
) -> None:
    routes = large(*predicates, more=("Path=/else/**",))
    assert taken(routes, facts(**request_of_last)) == "t599"
    assert taken(routes, facts("/else/x")) == "Path=/else/**"
    assert taken(routes, facts("/nowhere", host="t.example.com", x_tenant="t", cookie="tenant=t")) is None
    assert routes.warnings == ()


def test_the_order_of_routes_holds_whatever_they_are_found_by() -> None:
    routes = load_json(
        {
            "routes": [
                {"id": str(at), "uri": "http://h", "predicates": predicates}
                for at, predicates in enumerate(
                    [
                        ["Header=X-Tenant, a", "Path=/a/**"],
                        ["Host=b.test"],
                        ["Path=/a/b"],
                        ["Header=X-Tenant, a"],
                        ["Header=X-Tenant, b"],
                        ["Host=b.test,c.test"],
                        ["Path=/**"],
                    ]
                )
            ]
        }
    )
    assert taken(routes, facts("/a/x", host="b.test", x_tenant="a")) == "0"
    assert taken(routes, facts("/a/b", host="b.test", x_tenant="b")) == "1"
    assert taken(routes, facts("/a/b", host="c.test", x_tenant="b")) == "2"
    assert taken(routes, facts("/x", host="c.test", x_tenant="b, a")) == "3"
    assert taken(routes, facts("/x", host="c.test", x_tenant="b")) == "4"
    assert taken(routes, facts("/x", host="c.test")) == "5"
    assert taken(routes, facts("/x", host="d.test", x_tenant="c")) == "6"


CONDITIONS = [
    *("Host=a.test", "Host=a.test,b.test", "Host=**.test", "Host=a.*", "Host={x}.test:80", "Host=A.TEST:80"),
    *("Header=X-T, a", "Header=x-t, b", "Header=X-T, a.*", "Header=X-T", "Header=X-U, a"),
    *("Path=/a/**", "Path=/a*", "Path=/a-{x}/b", "Path=/{x:[a-b]}", "Path=/**/b", "Path=/a"),
]


@given(
    routes=st.lists(st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3), min_size=1, max_size=12),
    path=st.sampled_from(["/", "/a", "/a/b", "/b", "/ab", "/a-1/b", "/c/b"]),
    host=st.sampled_from(["a.test", "B.test", "a.test:80", "x.a.test", "c", ""]),
    headers=st.dictionaries(
        st.sampled_from(["X-T", "X-U"]), st.sampled_from(["a", "b", "ab", "b, a", "", "c"])
    ),
)
def test_the_index_of_routes_overlooks_none(
    routes: list[list[str]], path: str, host: str, headers: dict[str, str]
) -> None:
    table = load_json(
        {"routes": [{"id": str(at), "uri": "http://h", "predicates": of} for at, of in enumerate(routes)]}
    )
    request = RequestAttributes("GET", parse_target(path), CIMultiDict(headers), "127.0.0.1", host, "http")
    wanted = [route.id for route in table.routes if all(each.holds(request, {}) for each in route.predicates)]
    match = table.first(request)
    assert (match.route.id if match else None) == (wanted[0] if wanted else None)


@given(
    pattern=st.sampled_from(
        ["a.test", "*.test", "a.**", "**", "{x}.b.test", "a{x}.te?t", "**.b.*", "a.test:*", "é.test"]
    ),
    host=st.sampled_from(
        ["a.test", "A.Test", "a", "b.test", "x.b.test", "ab.test", "a.test:80", "é.test", "a.test."]
    ),
)
def test_what_a_host_begins_and_ends_with_decides_nothing_alone(pattern: str, host: str) -> None:
    routes = load_json(
        {
            "routes": [
                {
                    "id": "a",
                    "uri": "http://h",
                    "predicates": [{"name": "Host", "args": {"patterns": pattern}}],
                }
            ]
        }
    )
    predicate = routes.routes[0].predicates[0]
    assert isinstance(predicate, Host)
    assert predicate.holds(facts(host=host), {}) is (predicate.regexes[0].fullmatch(f".{host}") is not None)


def test_thousands_of_open_calls_and_cors_rules_are_compared_in_time() -> None:
    routes = large(
        "Path=/t#/**",
        access={"public": [f"GET /static/app{at}-*" for at in range(MANY)]},
        cors={"cors-configurations": {f"/api-{at}-*/**": {"maxAge": at} for at in range(MANY)}},
    )
    assert routes.is_public("GET", "/static/app599-x")
    assert not routes.is_public("GET", "/static/app-x")
    rule = routes.cors_for("/api-599-x/y")
    assert rule is not None
    assert rule.max_age == 599


TOO_MANY = {
    "routes": {
        "routes": [
            {"id": str(at), "uri": "http://h", "predicates": [f"Header=X-Tenant, .*t{at}"]}
            for at in range(MANY)
        ]
    },
    "gates": {"gates": [{"calls": [f"POST /*-{at}" for at in range(MANY)]}]},
    "open calls": {"access": {"public": [f"GET /a/*b{at}" for at in range(4 * MANY)]}},
    "CORS rules": {"cors": {"cors-configurations": {f"/a/*b{at}": {} for at in range(4 * MANY)}}},
}
ANY = {"routes": [{"id": "r", "uri": "http://h", "predicates": ["Path=/**"]}], "gates": []}


@pytest.mark.parametrize("what", TOO_MANY)
def test_a_table_that_is_too_large_is_warned_of_and_told_once(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        routes = load_json({**ANY, **TOO_MANY[what]})
    told = [warning for warning in routes.warnings if warning.rule == "too-many"]
    assert len(told) == 1
    assert f"with all {what}, so that such calls are" in told[0].message
    # Whoever checks a file is told by the warning alone.
    assert caplog.messages == []
    for _ in range(3):
        with caplog.at_level(logging.WARNING):
            if what == "routes":
                with pytest.raises(MatchingTimeout):
                    routes.resolve(facts(x_tenant="t"))
            elif what == "gates":
                with pytest.raises(MatchingTimeout):
                    routes.gate_for("POST", "/ax c", "/other/ax c")
            elif what == "open calls":
                assert not routes.is_public("GET", "/a/b c")
            else:
                with pytest.raises(MatchingTimeout):
                    routes.cors_for("/a/b c")
    assert len(caplog.messages) == 1
    assert f"with the {what} of the route file" in caplog.messages[0]
