"""The gate of a call: by its own path or by the one it has at the service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.calls import parse_call
from gateway.routing.gates import Gate, GateIndex, GateRule
from gateway.routing.table import RouteTable

NEEDED = GateRule("default", renews_only=False)
RESERVATIONS = Gate(
    "default", (parse_call("POST /api/v1/reservations"), parse_call("POST /api/v1/reservation-seats/**"))
)


@pytest.mark.parametrize(
    ("method", "path", "upstream", "rule"),
    [
        ("POST", "/api/v1/reservations", "/api/v1/reservations", NEEDED),
        ("POST", "/api/v1/reservations/", "/api/v1/reservations/", NEEDED),
        ("POST", "/API/V1/Reservations", "/API/V1/Reservations", NEEDED),
        ("POST", "/api/v1/reservations/1", "/api/v1/reservations/1", None),
        ("GET", "/api/v1/reservations", "/api/v1/reservations", None),
        ("POST", "/api/v1/reservation-seats", "/api/v1/reservation-seats", NEEDED),
        ("POST", "/api/v1/reservation-seats/1/hold", "/x", NEEDED),
        ("POST", "/alias", "/api/v1/reservations", NEEDED),
        ("POST", "/alias", "/Api/v1/Reservations/", NEEDED),
        ("post", "/alias", "/api/v1/reservations", NEEDED),
        ("POST", "/alias", "/elsewhere", None),
        ("PURGE", "/api/v1/reservations", "/api/v1/reservations", None),
    ],
)
def test_a_call_is_gated_under_whatever_path(
    method: str, path: str, upstream: str, rule: GateRule | None
) -> None:
    found = GateIndex([RESERVATIONS]).find(method, path, upstream)
    assert (found[1] if found else None) == rule


def test_what_needs_a_place_comes_before_what_only_renews() -> None:
    gates = (
        Gate("a", (), (parse_call("GET /x/**"),)),
        Gate("b", (parse_call("GET /x/gated"),), (parse_call("/y"),)),
    )
    index = GateIndex(gates)
    for method, path, rule in (
        ("GET", "/x/gated", GateRule("b", False)),
        ("HEAD", "/x/gated", GateRule("b", False)),
        ("GET", "/x/other", GateRule("a", True)),
        ("DELETE", "/y", GateRule("b", True)),
        ("DELETE", "/x/gated", None),
    ):
        found = index.find(method, path, path)
        assert (found[1] if found else None) == rule, (method, path)


def test_a_gate_without_a_method_is_for_every_method() -> None:
    index = GateIndex((Gate("a", (parse_call("/x"), parse_call("POST /y"))),))
    assert all(index.find(method, "/X/", "/") for method in ("GET", "PURGE", "post"))


def test_of_several_gates_the_one_that_names_the_path_counts() -> None:
    gates = (
        Gate("a", (parse_call("POST /sale"),), (parse_call("POST /sale.renew"),)),
        Gate("b", (parse_call("POST /sale.vip"), parse_call("POST /Sale"))),
    )
    index = GateIndex(gates)
    for path, upstream, room in (
        ("/sale", "/sale", "a"),
        ("/sale.json", "/sale.json", "a"),
        ("/sale.vip", "/sale.vip", "b"),
        ("/x", "/sale.vip", "b"),
        ("/Sale", "/Sale", "b"),
        ("/SALE", "/SALE", "a"),
        ("/sale.vip ", "/sale.vip ", "a"),  # either would do; never none
        ("/sale.renew", "/sale.renew", "a"),
    ):
        found = index.find("POST", path, upstream)
        assert found is not None
        assert found[1] == GateRule(room, renews_only=False), path


@pytest.mark.parametrize(
    ("first", "second", "cases"),
    [
        # A place in the room of all events is none in that of the one everybody wants.
        (
            "POST /events/7/seats",
            "POST /events/*/seats",
            {"7": "a", "07": "a", "0x7": "a", "7.json": "a", "7 ": "a", "8": "b", "x": "b"},
        ),
        ("POST /events/7/seats", "POST /events/**", {"7": "a", "07": "a", "7.json": "a", "8": "b"}),
        ("POST /events/Gala/seats", "POST /events/{id}/seats", {"Gala": "a", "gala": "a", "ball": "b"}),
        # The regexes of variables still tell rooms apart.
        (
            "POST /events/{id:[0-9]+}/seats",
            "POST /events/{name:[a-z-]+}/seats",
            {"7": "a", "0x7": "a", "7-x": "a", "gala": "b", "GALA.json": "b", "gala ": "b", "?": "a"},
        ),
        ("POST /events/{id:[0-9]+}/seats", "POST /events/{name}/seats", {"7": "a", "0x7": "a", "gala": "b"}),
        # What is named itself is not taken for another spelling.
        (
            "POST /events/sale/seats",
            "POST /events/sale.vip/seats",
            {"sale": "a", "sale.x": "a", "sale.vip": "b"},
        ),
        ("POST /events/sale/*", "POST /events/sale.vip/**", {"sale": "a", "sale.x": "a", "sale.vip": "b"}),
        ("POST /events/7/*", "POST /events/07/seats", {"7": "a", "007": "a", "07": "b"}),
        ("POST /events/**", "POST /events/7/seats", {"7": "a", "07": "a"}),
    ],
)
def test_no_spelling_leads_into_the_room_of_another_gate(
    first: str, second: str, cases: dict[str, str]
) -> None:
    index = GateIndex((Gate("a", (parse_call(first),)), Gate("b", (parse_call(second),))))
    for value, room in cases.items():
        path = f"/events/{value}/seats"
        for paths in ((path, path), ("/x" + path, path)):
            found = index.find("POST", *paths)
            assert found is not None, paths
            assert found[1].room == room, paths


def test_the_path_at_the_service_is_asked_for_the_gate_of_another_spelling_too() -> None:
    index = GateIndex(
        (Gate("a", (parse_call("POST /api/events/7"),)), Gate("b", (parse_call("POST /shop/**"),)))
    )
    for event, room in (("7", "a"), ("07", "a"), ("8", "b")):
        found = index.find("POST", f"/shop/events/{event}", f"/api/events/{event}")
        assert found is not None
        assert found[1].room == room


PIECES = [
    "a",
    "b",
    "7",
    "07",
    "{v}",
    "{v:[a-z]+}",
    "*",
    "a*",
    "{v}.x",
    "a-{v:[0-9]+}",
    "*b*",
    "?",
    "7-*",
    "A",
    "a.x",
]


@given(
    patterns=st.lists(
        st.builds(
            lambda head, middle, tail: "/" + "/".join((*head, *middle, *tail)),
            st.sampled_from([(), (), ("**",)]),
            st.lists(st.sampled_from(PIECES), max_size=4, unique=True),
            st.sampled_from([(), (), ("**",), ("",)]),
        ).filter(lambda pattern: pattern.count("**") < 2 and pattern.count("{v") < 2 and "//" not in pattern),
        min_size=1,
        max_size=20,
    ),
    path=st.lists(
        st.sampled_from(
            ["a", "b", "7", "07", "0x7", "a.x", "A.json", "ab", "a-7", "7-x", "x", ".x", "b ", "?"]
        ),
        max_size=5,
    ),
)
def test_the_index_of_gates_overlooks_none(patterns: list[str], path: list[str]) -> None:
    gates = tuple(Gate(f"r{at}", (parse_call(pattern),)) for at, pattern in enumerate(patterns))
    text = "/" + "/".join(path)
    meant = [gate.room for gate in gates if gate.calls[0].protects("POST", text)]
    found = GateIndex(gates).find("POST", text, text)
    assert (found is not None) == bool(meant)
    assert found is None or found[1].room in meant


@pytest.mark.parametrize(
    "call", ["POST /concert-{}-*", "POST /a/{{x}}/{}*.html", "POST /e/{}/seats", "POST /**/x{}-*"]
)
def test_thousands_of_gates_are_compared_in_time(call: str) -> None:
    """The last one is found, and a call of none of them is no call that can't be compared."""
    table = RouteTable(gates=(Gate("a", tuple(parse_call(call.format(at)) for at in range(3000))),))
    hit = call.format(2999).partition(" ")[2].replace("**", "q/r").replace("*", "a b").replace("{x}", "y")
    for path, gated in (
        (hit, True),
        (hit.upper() + ".json", True),
        ("/shop/other", False),
        ("/a b/c d", False),
    ):
        assert (table.gate_for("POST", "/other" + path, path) is not None) == gated, path


def test_many_gates_with_a_regex_leave_time_for_one_another() -> None:
    """The last one is found, and a call of none passes: a regex is only asked where the literals fit."""
    gates = tuple(Gate("a", (parse_call(f"POST /{{shop:[a-z]+}}/x/{at}"),)) for at in range(1000))
    table = RouteTable(gates=gates, public=tuple(call for gate in gates for call in gate.calls))
    for path, gated in (("/shop/x/999", True), ("/SHOP/x/999.json", True), ("/shop/x/y", False)):
        assert (table.gate_for("POST", path, "/other" + path) is not None) == gated
    assert table.is_public("POST", "/shop/x/999")
