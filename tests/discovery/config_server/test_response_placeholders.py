"""``${…}`` in a Config Server's values: the environment first, then the server's properties, then the default."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway.discovery.config_server.properties import properties_of
from gateway.discovery.config_server.response import MAX_CHARACTERS, MAX_VALUE_LENGTH, Lookup
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from tests.support.config_server import answer_of

SOURCES = answer_of(
    {
        "orders.host": "from-first",
        "url": "http://${orders.host}:${orders.port:80}/${tail:}",
        "my-name": "kebab",
    },
    {
        "orders.host": "from-second",
        "orders.port": 8080,
        "loop": "${pool}",
        "pool": "a${loop}",
        "hole": "${none}",
    },
).sources


def filled(text: str, **environ: str) -> str:
    value, unset = Lookup(SOURCES, environ).fill(text)
    assert unset == ()
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${orders.host}", "from-first"),
        ("${orders.port}", "8080"),
        ("${url}", "http://from-first:8080/"),
        ("${myName}", "kebab"),
        ("${nothing:default}", "default"),
        ("${nothing:${orders.host}}", "from-first"),
        ("/$\\{rest}", "/$\\{rest}"),
    ],
)
def test_a_placeholder_is_filled_from_any_source(text: str, value: str) -> None:
    assert filled(text) == value


def test_the_environment_counts_before_the_server() -> None:
    assert filled("${orders.host}", ORDERS_HOST="from-environment") == "from-environment"
    assert filled("${url}", ORDERS_HOST="e", TAIL="t") == "http://e:8080/t"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("${none}", ["none"]),
        ("${hole}", ["none"]),
        ("${nothing:${hole}}", ["none"]),
        ("${loop}", ["loop (it stands for itself)"]),
    ],
)
def test_what_has_no_value_is_named_however_deep_it_is(text: str, names: list[str]) -> None:
    assert list(Lookup(SOURCES, {}).fill(text)[1]) == names


@pytest.mark.timeout(10)
def test_values_that_repeat_one_another_cost_no_more_than_they_are_long() -> None:
    source: dict[str, str] = {f"a{at}": f"${{a{at + 1}}}" * 10 for at in range(12)}
    lookup = Lookup(answer_of({**source, "a12": "x"}).sources, {})
    value, unset = lookup.fill("${a0}")
    assert len(value) <= MAX_VALUE_LENGTH
    assert "too long" in unset[0]


def test_what_stands_for_itself_is_a_fault_and_no_setting_left_out() -> None:
    issuer = "spring.security.oauth2.resourceserver.jwt.issuer-uri"
    found = properties_of(answer_of({issuer: "${loop}", "loop": "${loop}"}), {})
    with pytest.raises(RouteFileError, match="itself"):
        parse(b"routes: []", "routes.yaml", {}, found)


X = "x" * MAX_VALUE_LENGTH
GATEWAY = "spring.cloud.gateway.routes[0]."


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "properties",
    [
        {"x": X, GATEWAY + "id": "${x}" * 2_000},
        {"x": X, **{f"{GATEWAY}metadata.k{at}": "${x}" for at in range(4_000)}},
        {"lost": "${loop}" * 8_000, "loop": "${loop}", GATEWAY + "id": "${lost}" * 5_000},
    ],
    ids=["one value", "many values", "names without a value"],
)
def test_placeholders_make_no_more_of_an_answer_than_a_bound_allows(properties: dict[str, str]) -> None:
    answer = answer_of(properties)
    tracemalloc.start()
    try:
        found = properties_of(answer, {})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * MAX_CHARACTERS
    assert any(each in repr(found.sections) for each in ("too long", "itself"))


def test_properties_that_a_placeholder_stands_for_are_used() -> None:
    lookup = Lookup(SOURCES, {})
    lookup.fill("${url}")
    assert lookup.used == {"url", "orders.host", "orders.port"}
