"""The JSON Schema of route files: it is made of the loader's model, refuses what the loader refuses, and marks no file
of which `gateway check` says nothing."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.cli.main import main
from gateway.routing.factories import FILTERS, PREDICATES
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import default_file, parse
from gateway.routing.spec.model import FILE
from gateway.routing.spec.schema import route_file_schema
from gateway.routing.spec.shapes import Definitions, Keys, Listed, MapOf, Shape, Texts, TextsOr, Truth
from gateway.routing.spec.tls import TLS_KEYS
from gateway.routing.spec.value_types import TEXT, ValueType

ROOT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(route_file_schema())

Place = tuple[str | int, ...]
"""The keys and positions that lead to a value in a document."""

ROUTE: dict[str, Any] = {
    "id": "shop",
    "uri": "http://127.0.0.1:8101",
    "predicates": ["Path=/shop/{rest}", {"name": "Method", "args": {"methods": ["GET", "POST"]}}],
    "filters": ["StripPrefix=1", "PreserveHostHeader", {"name": "RequestSize", "args": {"maxSize": "5MB"}}],
    "order": -1,
    "metadata": {
        "response-timeout": 5000,
        "connect-timeout": "${CONNECT:-1}",
        "cors": {
            "allowedOrigins": ["https://a.example"],
            "allowedOriginPatterns": "https://*.example",
            "allowedMethods": ["GET", "PUT"],
            "allowedHeaders": ["Authorization"],
            "exposedHeaders": ["X-A", "X-B"],
            "allowCredentials": True,
            "allowPrivateNetwork": "false",
            "maxAge": "30m",
        },
        "allow-actuator": False,
        # Files would have to be there; test_tls.py has some.
        **dict.fromkeys(TLS_KEYS),
        "team": {"pager": [1, 2]},
    },
    "enabled": True,
}
SERVICE: dict[str, Any] = {
    "instances": [{"uri": "http://127.0.0.1:8102", "weight": 2}, "http://127.0.0.1:8103"],
    "balance": "hash",
    "hash": "cookie:cart",
    "health": {"path": "/health", "interval": "5s", "timeout": "1s", "unhealthy": 2, "healthy": 1},
    "eject": {"failures": 3, "time": "20s", "max": 0.3},
    "slow-start": "30s",
    "max-connections": 200,
    "max-waiting": 100,
    **dict.fromkeys(TLS_KEYS),
}
SOUND: dict[str, Any] = {
    "routes": [ROUTE, "short=http://127.0.0.1:8102,Path=/short"],
    "default-filters": ["AddResponseHeader=X-A, b"],
    "services": {"shop": ["http://127.0.0.1:8101"], "other": "${OTHER:}", "none": None, "full": SERVICE},
    "gates": [
        {"room": "vip", "calls": ["POST /shop/buy"], "renews": "GET /shop/look", "websocket": "outlive"}
    ],
    "access": {"public": ["GET /short", "/shop/open"], "defaults": False},
    "rooms": {
        "vip": {
            "capacity": 10,
            "duration": "4m",
            "absent": "90s",
            "hold": 0,
            "max_session": "1h",
            "claim": "90s",
            "rate": "120/m",
            "history": "1h",
            "eligible": {"claim": "presale", "values": ["gold", "silver"]},
            "lanes": [{"name": "members", "share": 0.3, "claim": "tier", "values": ["gold"]}],
            "relineup": "keep",
            "lineup": "implicit",
            "max_waiting": 5000,
            "lineups_per_minute": 10,
            "mode": "observe",
            "opens_at": "2026-12-01T20:00:00+09:00",
            "closes_at": "2026-12-01T14:00:00.5Z",
            "prequeue": {"from": "30m", "order": "draw", "beacon": "a lottery"},
            "identity": "either",
            "places_per_address": 4,
            "challenge": {"url": "https://check.example/visitors", "timeout": "2s", "fail": "closed"},
            "bypass": [
                {"name": "staff", "claim": "role", "values": ["staff", 7, True]},
                {"name": "probes", "networks": ["10.9.0.0/16", "::1"]},
            ],
            "page": {
                "title": "Winter sale",
                "logo": str(ROOT / "gateway/pages/waiting_page/assets/icon.svg"),
                "colour": "#1f4fd8",
                "text": {"en": "Tickets are 30 each.", "ko": "1인 2매"},
                "template": str(ROOT / "gateway/pages/waiting_page/files/page.html"),
                "status": 202,
                "login": "/login",
            },
        },
        "default": {"capacity": "${C:1}", "duration": 0.5, "mode": False},
    },
    "cors": {
        "cors-configurations": {"[/**]": {"allowedOrigins": "https://a.example"}},
        "add-to-simple-url-handler-mapping": True,
    },
    "discovery": {
        "locator": {
            "enabled": True,
            "lower-case-service-id": True,
            "include-expression": "true",
            "route-id-prefix": "found-",
            "url-expression": "'lb://'+serviceId",
            "predicates": ["Path='/of/'+serviceId+'/**'"],
            "filters": [{"name": "StripPrefix", "args": {"parts": "'2'"}}],
            "exclude": ["internal"],
        }
    },
    "filter": {
        "secure-headers": {"frame-options": "SAMEORIGIN", "disable": ["referrer-policy"], "enabled": True}
    },
    "predicate": {"host": {"include-port": False}},
}


def said(document: object) -> tuple[list[str], list[str]]:
    """The loader's faults and warnings about a document."""
    try:
        table = parse(json.dumps(document).encode(), "routes.yaml", {})
    except RouteFileError as error:
        return [str(fault) for fault in error.issues], []
    return [], [str(warning) for warning in table.warnings]


def marked(document: object) -> list[str]:
    """What the schema says of it."""
    return [error.message for error in SCHEMA.iter_errors(document)]


def changed(place: Place, value: object) -> dict[str, Any]:
    """The sound document with another value there."""
    document = copy.deepcopy(SOUND)
    below: Any = document
    for step in place[:-1]:
        below = below[step]
    below[place[-1]] = value
    return document


def places(shape: Shape, value: Any, place: Place = ()) -> Iterator[tuple[Place, Shape]]:
    """Everything in the sound document that the model has a shape for."""
    yield place, shape
    if isinstance(shape, Keys) and isinstance(value, dict):
        for key in shape:
            if key.name in value:
                yield from places(key.holds, value[key.name], (*place, key.name))
    elif isinstance(shape, TextsOr) and isinstance(value, dict):
        for key in shape.keys:
            yield from places(key.holds, value[key.name], (*place, key.name))
    elif isinstance(shape, MapOf):
        for name, each in value.items():
            yield from places(shape.values, each, (*place, name))
    elif isinstance(shape, Listed):
        for position, each in enumerate(value):
            yield from places(shape.items, each, (*place, position))


PLACES = list(places(FILE, SOUND))
MAPPINGS = [(place, shape) for place, shape in PLACES if isinstance(shape, Keys) and place != ("routes", 1)]


def wrong_for(shape: Shape) -> object:
    """A value of a wrong type."""
    match shape:
        case Truth():
            return "true"
        case Listed(alone=True):
            return {"non": {"sense": 1}}
        case Listed():
            return "nonsense"
        case MapOf() | Keys():
            return ["nonsense"]
        case Definitions():
            return ["Nonsense=1"]
        case Texts() | TextsOr():
            return {"non": {"sense": 1}}
        case ValueType():
            return {"non": "sense"} if shape is TEXT else "non sense"


def shown(place: object) -> str:
    return ".".join(map(str, place)) if isinstance(place, tuple) else ""


def test_it_is_a_schema_of_its_dialect() -> None:
    Draft202012Validator.check_schema(route_file_schema())
    assert route_file_schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_the_file_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], {}) == 0
    kept = (ROOT / "routes.schema.json").read_text(encoding="utf-8")
    assert kept == capsys.readouterr().out, "gateway schema > routes.schema.json"


def test_the_shipped_routes_are_sound_and_name_the_schema_beside_them() -> None:
    for file in (ROOT / "routes.yaml", default_file()):
        text = file.read_text(encoding="utf-8")
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
        assert named is not None
        kept = json.loads(file.with_name(named[1]).read_text(encoding="utf-8"))
        assert list(Draft202012Validator(kept).iter_errors(yaml.safe_load(text))) == []


def test_the_sound_document_is_sound_and_has_every_key() -> None:
    assert said(SOUND)[0] == []
    assert marked(SOUND) == []
    held = {(id(shape), place[-1]) for place, _ in PLACES for shape in [_mapping_of(place)] if shape}
    values = [key for key in FILE["filter"].holds["secure-headers"].holds if key.name.count("-")]  # type: ignore[index,union-attr]
    missing = [
        key.name
        for shape in {id(shape): shape for _, shape in MAPPINGS}.values()
        for key in shape
        if (id(shape), key.name) not in held and key not in values
    ]
    assert missing == ["enable"]


def _mapping_of(place: Place) -> Keys | None:
    return next((shape for other, shape in MAPPINGS if place and other == place[:-1]), None)


@pytest.mark.parametrize(("place", "shape"), MAPPINGS, ids=shown)
def test_an_unknown_key_is_refused_by_both(place: Place, shape: Keys) -> None:
    document = changed((*place, "nonsense"), 1)
    issues, _ = said(document)
    assert bool(marked(document)) == bool(issues) == (not shape.others)


@pytest.mark.parametrize(("place", "shape"), [each for each in PLACES if each[0]], ids=shown)
def test_a_wrong_type_is_refused_by_both(place: Place, shape: Shape) -> None:
    document = changed(place, wrong_for(shape))
    issues, warnings = said(document)
    assert issues or len(warnings) > len(said(SOUND)[1])
    assert marked(document)


@pytest.mark.parametrize("key", ["uri", "predicates"])
def test_a_route_without_what_it_needs_is_refused_by_both(key: str) -> None:
    document = changed(("routes",), [{name: value for name, value in ROUTE.items() if name != key}])
    assert said(document)[0]
    assert marked(document)
    for nothing in (None, []):
        document = changed(("routes", 0, key), nothing)
        assert said(document)[0]
        assert marked(document) or key == "uri"


def test_null_is_no_name_of_a_room_for_both() -> None:
    document = changed(("gates", 0, "room"), None)
    assert "no name of a room" in said(document)[0][0]
    assert marked(document)


@pytest.mark.parametrize(
    "sections", [{}, {"services": {}}, {"routes": None}, {"management": {}, "routes": []}]
)
def test_a_file_without_routes_or_with_strange_sections_is_refused_by_both(sections: dict[str, Any]) -> None:
    assert said(sections)[0]
    assert marked(sections)


DEFINITIONS = {"predicates": PREDICATES, "filters": FILTERS}


@pytest.mark.parametrize("what", DEFINITIONS)
@pytest.mark.parametrize(
    "one", ["Nonsense=1", {"name": "Nonsense"}, "TokenRelay", {"name": "Version", "args": {}}, 7]
)
def test_an_unknown_name_is_refused_by_both(what: str, one: object) -> None:
    for place in (("routes", 0, what), ("discovery", "locator", what)):
        document = changed(place, ["Path=/a" if what == "predicates" else "StripPrefix=1", one])
        assert said(document)[0]
        assert marked(document)


@pytest.mark.parametrize(
    ("what", "name"), [(what, name) for what, kinds in DEFINITIONS.items() for name in kinds]
)
def test_arguments_are_refused_by_both(what: str, name: str) -> None:
    kind = DEFINITIONS[what][name]
    wrong: list[dict[str, Any]] = [{"nonsense": "1"}]
    wrong += [{arg.name: "non sense"} for arg in kind.args if arg.of is not TEXT]
    wrong += [{arg.name: ["a", "b"]} for arg in kind.args if not (arg.gathers or arg.listed)]
    for args in wrong:
        document = changed(
            ("routes", 0, what), ["Path=/a", {"name": name, "args": args}][what == "filters" :]
        )
        assert said(document)[0], args
        assert marked(document), args


def test_every_kind_says_what_it_is_for_in_one_sentence() -> None:
    for kind in (*PREDICATES.values(), *FILTERS.values()):
        assert re.fullmatch(r"[A-Z].{10,100}[^.]\.", kind.doc), kind.name


SPRING = {
    "spring": {
        "application": {"name": "gateway"},
        "cloud": {
            "gateway": {
                "fail-on-route-definition-error": True,
                "server": {
                    "webflux": {
                        "routes": [ROUTE],
                        "globalcors": SOUND["cors"],
                        "httpclient": {"connect-timeout": 1},
                        "default-filters": [],
                    }
                },
            }
        },
    },
    "management": {"port": 1},
    "gates": SOUND["gates"],
}


def test_springs_own_nesting_is_understood_by_both() -> None:
    assert said(SPRING)[0] == marked(SPRING) == []
    wrong = copy.deepcopy(SPRING)
    gateway: Any = wrong["spring"]["cloud"]["gateway"]  # type: ignore[index,call-overload]
    for below in (gateway, gateway["server"]["webflux"]):
        below["nonsense"] = 1
        assert said(wrong)[0]
        assert marked(wrong)
        del below["nonsense"]
    gateway["server"]["webflux"]["routes"][0]["predicates"] = ["Nonsense=1"]
    assert said(wrong)[0]
    assert marked(wrong)


WEIGHT = {"name": "Weight", "args": {"weight": {"group": "a", "weight": 2}}}


@pytest.mark.parametrize(
    "document",
    [
        {"spring.cloud.gateway.routes": [ROUTE]},
        {"routes": [{"ID": "a", "Uri": "lb://a", "predicates[0]": "Path=/a", "metadata.team": 1}]},
        {"routes": {"0": ROUTE}, "default_filters": None, "Rooms": {"vip": None}},
        {"routes": [{"uri": "lb://a", "predicates": "Path=/a,Method=GET", "filters": {"0": "StripPrefix=1"}}]},
        {"routes": [{"uri": "${A:lb://a}", "predicates": ["${P:Path=/a}"], "order": "${O:1}", "enabled": ""}]},
        {"routes": [], "cors": {"corsConfigurations": {"/a": {"allowed-origins": None, "MAX_AGE": 5}}}},
        {"routes": [{"uri": "lb://a", "predicates": [{"Name": "Path", "ARGS": {"_genkey_0": "/a"}}]}]},
        {"routes": [{"uri": "lb://a", "predicates": [{"name": "Path", "args": {"pattern": "/a"}}, "Weight=a,1"]}]},
        {"routes": [{"uri": "lb://a", "predicates": ["Path=/a", WEIGHT]}]},
        {"routes": [{"uri": "lb://a", "predicates": ["Path=/a"], "filters": [{"name": "StripPrefix", "args": [2]}]}]},
    ],
)  # fmt: skip
def test_other_ways_to_write_it_are_understood_by_both(document: dict[str, Any]) -> None:
    assert said(document)[0] == marked(document) == []


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
    | st.sampled_from(["Path=/a", "StripPrefix=1", "lb://a", "GET /x", "${A:1}", "${A:}"])
    | st.sampled_from(["true", "4m", "default", "/**", ""])
    | st.text(max_size=4)
)  # fmt: skip
_NAMES = st.sampled_from(sorted({str(step) for place, _ in PLACES for step in place})) | st.sampled_from(
    ["name", "args", "maxSize", "parts", "pattern", "methods", "_genkey_0"]
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=6,
)


@cache
def _sound_warnings() -> int:
    return len(said(SOUND)[1])


# Not the properties of all filters or predicates of a kind: these take a list of one for its value, null for nothing.
_USUAL = [place for place, _ in PLACES if place and place[0] not in ("filter", "predicate")]


# Each example is a whole file, with the template of a page in it.
@pytest.mark.timeout(240)
@settings(max_examples=400)
@given(st.sampled_from(_USUAL), _VALUES)
def test_no_document_is_marked_of_which_the_loader_says_nothing(place: Place, value: object) -> None:
    document = changed(place, value)
    issues, warnings = said(document)
    if not issues and len(warnings) <= _sound_warnings():
        assert marked(document) == []


_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_BEGINS_AS_YAML = re.compile(r"#.*\n|[\w.-]+:(?:\s|$)")


# Files of other programs, by page and first line.
NO_ROUTE_FILES = {
    "api.md: operators:",
    "config-server.md: # application.yml",
    "deploy.md: resources: [../kubernetes]",
    "services.md: metadata:",
}


def examples() -> Iterator[tuple[str, object]]:
    """Every example in YAML as a whole document, or None if it is no route file or part of one; with its name."""
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        for indent, language, block in _FENCE.findall(page.read_text(encoding="utf-8")):
            if language not in ("", "yaml", "yml") or not _BEGINS_AS_YAML.match(block.strip()):
                continue
            name = f"{page.name}: {block.strip().splitlines()[0]}"
            text = "\n".join(line.removeprefix(indent) for line in block.splitlines())
            document = _whole(yaml.safe_load(text)) if language else _whole(_yaml_if_it_is(text))
            if document is not None or language:
                yield name, document


def _yaml_if_it_is(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _whole(value: object) -> object:
    if not isinstance(value, dict):
        return None
    if value.keys() & {"routes", "spring"}:
        return value
    if value.keys() & {"predicates", "filters"}:
        return {"routes": [{"id": "here", "uri": "lb://here", "predicates": ["Path=/**"], **value}]}
    return {"routes": [], **value} if value.keys() & set(FILE.names) else None


EXAMPLES = list(examples())


def test_there_are_examples_and_all_but_few_are_route_files() -> None:
    assert len(EXAMPLES) > 50
    assert {name for name, document in EXAMPLES if document is None} == NO_ROUTE_FILES


@pytest.mark.parametrize(
    "document", [pytest.param(document, id=name) for name, document in EXAMPLES if document is not None]
)
def test_examples_of_the_docs_are_sound(document: object) -> None:
    assert marked(document) == []
