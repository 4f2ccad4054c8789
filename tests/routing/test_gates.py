"""The gate of a call: by its own path or by the one it has at the service."""

from __future__ import annotations

import pytest

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


def test_many_gates_with_a_regex_leave_time_for_one_another() -> None:
    """The last one is found, and a call of none passes: a regex is only asked where the literals fit."""
    gates = tuple(Gate("a", (parse_call(f"POST /{{shop:[a-z]+}}/x/{at}"),)) for at in range(1000))
    table = RouteTable(gates=gates, public=tuple(call for gate in gates for call in gate.calls))
    for path, gated in (("/shop/x/999", True), ("/SHOP/x/999.json", True), ("/shop/x/y", False)):
        assert (table.gate_for("POST", path, "/other" + path) is not None) == gated
    assert table.is_public("POST", "/shop/x/999")
