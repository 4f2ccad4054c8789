"""Shapes of the route file and what each resolves to, as Spring's tools see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.routing.describe import actuator, actuator_route
from gateway.routing.spec.loader import default_file, parse
from tests.routing.vectors import FOLDER, Case, case_id, cases, faults_of
from tests.support.route_files import load

ENVIRON = {"VECTOR_SET": "from-env"}

# The file is refused here where Spring drops something in silence, or supports what we don't.
FAULTS = {
    "r157": "argument",  # a fallback at another address
    "r160": "argument",  # the key of a rate limiter is a program's
    **dict.fromkeys(("r059", "r060", "r178", "r179"), "variable"),  # nothing captures it
    **dict.fromkeys(("r080", "r089", "r145", "r146"), "argument"),  # a wrong name of an argument
    "r081": "pattern",  # a comma inside one value of the long form
    "r085": "argument",
    "r087": "pattern",
    **dict.fromkeys(("r084", "r108", "r109"), "argument"),  # a Path without patterns
    **dict.fromkeys(("r120", "r121", "r140", "r172"), "argument"),  # surplus values
    "r138": "shape",  # an argument outside args
    "r142": "argument",  # StripPrefix=-1
    "r164": "argument",  # an expression
    "r182": "placeholder",
    "r200": "key",
    "r218": "uri",
    "f005": "filter-name",  # told to go on without the bad route: a table is whole or none
    "f010": "placeholder",
    "f015": "key",
}
# Refused there, read here.
LENIENT = {
    "r159": "a status may be a number",
    "r193": "numbers as keys need no quotes",
    "f020": "the older prefix is read as well",
    "f024": "the gateway's own shape has no prefix",
    "f037": "a CORS pattern needs no brackets",
    "f038": "a CORS pattern needs no brackets",
}
# Loaded in both, but not as the same thing.
OTHERWISE = {
    "r031": "the predicate's text is a Java class there",
    "r032": "the predicate's text is a Java class there",
    "r067": "RequestSize as a shortcut sets nothing there",
    "r147": "a list of arguments is dropped there",
    "r206": "a missing id is generated: route-1 here",
    "r209": "recorded in one file with r208, whose id it repeats",
}


def _normal(route: dict[str, Any]) -> dict[str, Any]:
    """Without Spring's own first predicate and without its parentheses; without addresses of objects."""
    text = route["predicate"].replace("RouteDefinitionRouteLocator$$Lambda@<id> && ", "")
    filters = [each.replace("@<id>", "") for each in route["filters"]]
    return {**route, "predicate": text.replace("(", "").replace(")", ""), "filters": filters}


@pytest.mark.parametrize("case", cases("yaml_shapes"), ids=case_id)
def test_a_shape_resolves_to_what_it_resolves_to_there(case: Case) -> None:
    name = case["id"]
    text = case["file"] if "file" in case else "routes:\n" + case["route"]
    expected = case.get("resolved") or []
    table, issues = faults_of(lambda: parse(f"{text}\n".encode(), "case.yaml", ENVIRON))
    if table is None:
        assert not expected or {fault.rule for fault in issues} == {FAULTS[name]}
        assert all(fault.line > 0 for fault in issues)
        return
    found = actuator(table)
    assert name not in FAULTS
    if "starts" in case and not case["starts"]:
        assert name in LENIENT
    if not expected:
        assert not found or name in LENIENT
        return
    expected = expected if isinstance(expected, list) else [expected]
    if name not in OTHERWISE:
        assert [_normal(route) for route in found] == [_normal(route) for route in expected]


def test_the_shipped_routes_look_as_they_did_in_the_older_system() -> None:
    recorded = json.loads((FOLDER / "actuator.json").read_text("utf-8"))["cases"]
    expected = next(case["body"] for case in recorded if case["id"] == "routes")
    found = actuator(load(default_file(), {}))
    assert [_normal(route) for route in found] == [_normal(route) for route in expected]


def test_a_single_route_is_shown_with_its_metadata() -> None:
    text = b"routes:\n- {id: a, uri: 'https://u.test', predicates: ['Path=/a', 'Method=GET'], metadata: {k: [1]}}"
    table = parse(text, "x.yaml", {})
    assert actuator_route(table.routes[0]) == {
        "predicate": "(Paths: [/a], match trailing slash: true && Methods: [GET])",
        "route_id": "a",
        "metadata": {"k": {"0": 1}},
        "filters": [],
        "uri": "https://u.test:443",
        "order": 0,
    }
