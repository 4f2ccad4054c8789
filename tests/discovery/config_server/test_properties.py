"""Flat properties become the sections of a route file, by Spring's rules of precedence."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.discovery.config_server.properties import properties_of
from gateway.routing.cors import parse_cors
from gateway.routing.spec.loader import parse
from gateway.routing.spec.overlay import Properties
from tests.support.config_server import answer_of, routes

OLD, NEW = "spring.cloud.gateway", "spring.cloud.gateway.server.webflux"


def read(*sources: dict[str, Any], **environ: str) -> Properties:
    return properties_of(answer_of(*sources), environ)


def ids(*sources: dict[str, Any], file: bytes = b"routes: []") -> list[str]:
    return [route.id for route in parse(file, "routes.yaml", {}, read(*sources)).routes]


@pytest.mark.parametrize("prefix", [OLD, NEW, "Spring.Cloud.gateway.SERVER.web-flux"])
def test_routes_are_read_under_both_generations_of_their_names(prefix: str) -> None:
    assert ids(routes("a", "b", prefix=prefix)) == ["a", "b"]


def test_within_a_source_the_newer_names_win_whatever_their_order() -> None:
    assert ids({**routes("old", prefix=OLD), **routes("new")}) == ["new"]
    assert ids({**routes("new"), **routes("old", prefix=OLD)}) == ["new"]


def test_an_earlier_source_wins_also_under_the_older_names() -> None:
    assert ids(routes("mine", prefix=OLD), routes("everybodys")) == ["mine"]


def test_a_list_is_taken_whole_from_the_first_source_that_has_it() -> None:
    assert ids(routes("a"), routes("b", "c", "d")) == ["a"]
    below = f"{NEW}.routes[0].filters"
    first = {**routes("a"), f"{below}[0]": "StripPrefix=1"}
    second = {**routes("b"), f"{below}[0]": "StripPrefix=2", f"{below}[1]": "SecureHeaders"}
    table = parse(b"routes: []", "routes.yaml", {}, read(first, second))
    assert len(table.routes[0].filters) == 1


def test_list_order_is_that_of_the_numbers() -> None:
    names = [f"r{at}" for at in range(12)]
    shuffled = dict(sorted(routes(*names).items()))
    assert list(shuffled).index(f"{NEW}.routes[10].id") < list(shuffled).index(f"{NEW}.routes[2].id")
    assert ids(shuffled) == names


def test_mappings_are_merged_key_by_key() -> None:
    rule = f"{NEW}.globalcors.cors-configurations"
    found = read(
        {f"{rule}[/**].allowedOrigins[0]": "https://a.example", f"{rule}[/a/**].allowedMethods": "PUT"},
        {f"{rule}[/**].allowedOrigins[0]": "https://b.example", f"{rule}[/**].max-age": 60},
    )
    cors = parse(b"routes: []", "routes.yaml", {}, found).cors
    assert cors["/**"].allowed_origins == ("https://a.example",)
    assert cors["/**"].max_age == 60
    assert cors["/a/**"].allowed_methods == ("PUT",)


def test_everything_may_be_text_as_it_is_from_a_properties_file() -> None:
    text = {
        **routes("a"),
        f"{NEW}.routes[0].order": "-5",
        f"{NEW}.routes[0].enabled": "TRUE",
        f"{NEW}.routes[0].metadata.allow-actuator": "true",
        f"{NEW}.routes[0].metadata.response-timeout": "250",
        f"{NEW}.default-filters": "SecureHeaders,StripPrefix=1",
        f"{NEW}.discovery.locator.enabled": "true",
    }
    table = parse(b"routes: []", "routes.yaml", {}, read(text))
    route = table.routes[0]
    assert (route.order, route.allow_actuator, route.response_timeout) == (-5, True, 0.25)
    assert len(route.filters) == 2
    assert table.locator is not None


def test_the_long_form_and_the_short_one_of_a_route_are_read() -> None:
    long = {
        f"{OLD}.routes[0].id": "long",
        f"{OLD}.routes[0].uri": "http://127.0.0.1:1",
        f"{OLD}.routes[0].predicates[0].name": "Path",
        f"{OLD}.routes[0].predicates[0].args.patterns[0]": "/a/**",
        f"{OLD}.routes[0].predicates[0].args.patterns[1]": "/b/**",
        f"{OLD}.routes[0].filters[0].name": "RewritePath",
        f"{OLD}.routes[0].filters[0].args.regexp": "/a/(?<rest>.*)",
        f"{OLD}.routes[0].filters[0].args.replacement": "/$\\{rest}",
        f"{OLD}.routes[1]": "short=http://127.0.0.1:1,Path=/s/**,Method=GET",
    }
    assert ids(long) == ["long", "short"]


@pytest.mark.parametrize("empty", ["filters", "metadata"])
def test_an_empty_list_or_mapping_comes_as_empty_text(empty: str) -> None:
    assert ids({**routes("a"), f"{NEW}.routes[0].{empty}": ""}) == ["a"]


def test_an_empty_list_of_routes_says_nothing() -> None:
    """``routes:`` with everything below it commented out looks the same as ``routes: []``."""
    empty = {f"{NEW}.routes": ""}
    assert ids(empty, routes("a")) == ["a"]
    assert not read(empty).gives_routes
    file = b"routes: [{id: filed, uri: 'lb://a', predicates: [Path=/a]}]"
    assert ids(empty, file=file) == ["filed"]


def test_what_a_gateway_does_not_read_is_left_aside_and_named() -> None:
    found = read(
        {
            **routes("a"),
            f"{NEW}.routes[0].urii": "x",
            f"{NEW}.routes[0].predicates[0].nme": "x",
            f"{NEW}.globalcors.cors-configurations[/**].alowed": "x",
            f"{NEW}.httpclient.pool.max-connections": 500,
            "server.port": 8080,
            "gates[0].calls[0]": "GET /a",
            "access.public[0]": "GET /a/**",
            "rooms.default.capacity": 5,
            "services.a": "http://127.0.0.1:1",
            "routes[0].id": "b",
            "spring.security.oauth2.resourceserver.jwt.public-key-location": "x",
            "a.used": "by a placeholder",
            "]][": "?",
        },
        {f"{NEW}.routes[0].metadata.note": "of another list", f"{NEW}.routes[1].uri": "${a.used}"},
    )
    assert len(found.ignored) == 12
    assert "a.used" not in found.ignored
    assert {"gates[0].calls[0]", f"{NEW}.routes[0].urii", "server.port", "]]["} <= set(found.ignored)
    assert parse(b"routes: []", "routes.yaml", {}, found).routes[0].id == "a"


def test_the_digest_is_of_what_counts_and_not_of_where_it_stands() -> None:
    one = read({**routes("a"), "x": 1})
    assert one.digest == read({"x": 2}, routes("a", prefix=OLD)).digest
    assert one.digest != read(routes("b")).digest
    assert one.digest != read({**routes("a"), f"{NEW}.routes[0].order": 1}).digest
    rule = f"{NEW}.globalcors.cors-configurations"
    patterns = {f"{rule}[/**].max-age": 1, f"{rule}[/a/**].max-age": 2}
    assert read(patterns).digest != read(dict(reversed(patterns.items()))).digest, "the first pattern wins"
    placeholder = {**routes("a"), f"{NEW}.routes[0].uri": "lb://${name:a}"}
    assert one.digest == read(placeholder).digest != read(placeholder, NAME="b").digest


def test_a_name_that_is_a_value_and_a_mapping_at_once_is_the_mapping() -> None:
    both = {**routes("a"), f"{NEW}.routes[0].predicates": "Path=/x"}
    assert ids(both) == ids(dict(reversed(both.items()))) == ["a"]


def test_every_key_of_springs_cors_configuration_is_read() -> None:
    rule = f"{NEW}.globalcors.cors-configurations[/**]"
    values = {
        "allowedOrigins[0]": "https://a.test",
        "allowed-origin-patterns": "https://*.b.test",
        "allowedMethods": "PUT",
        "allowedHeaders": "X-A",
        "exposedHeaders": "X-B",
        "allowCredentials": True,
        "allowPrivateNetwork": True,
        "maxAge": 60,
    }
    found = read({f"{rule}.{key}": value for key, value in values.items()})
    assert not found.ignored
    (cors,) = parse(b"routes: []", "routes.yaml", {}, found).cors.values()
    assert cors == parse_cors({key.partition("[")[0]: value for key, value in values.items()})
    assert cors.allow_private_network
