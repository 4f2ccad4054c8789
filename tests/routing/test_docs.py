"""The pages of the route file: every predicate and filter has a section, and every example does what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from multidict import CIMultiDict

from gateway.errors import BadRequest
from gateway.routing.attributes import RequestAttributes
from gateway.routing.factories import FILTERS, NO_FILTERS, NO_PREDICATES, PREDICATES
from gateway.routing.filters.without_effect import WITHOUT_EFFECT
from gateway.routing.path import parse_target
from gateway.routing.spec.loader import parse
from gateway.routing.spec.model import FILE, ROUTE
from gateway.routing.table import RouteMatch, RouteTable
from tests.routing.vectors import load_json

_PAGES = ("routes", "predicates", "filters", "gates", "cors", "services", "locator", "spring-routes")
ROOT = Path(__file__).parents[2]
TEXT = "\n".join(
    (Path(__file__).parents[2] / "docs" / "reference" / f"{page}.md").read_text("utf-8") for page in _PAGES
)
_EXAMPLE = re.compile(r"```yaml\n(.*?)```\n\n```\n(.*?)```", re.DOTALL)
_HEADER = re.compile(r"\[([\w-]+): ([^\]]*)\]")
_BLOCK = re.compile(r"```\n((?:services|gates|access|rooms|cors|discovery):\n.*?)```", re.DOTALL)


class Example(NamedTuple):
    heading: str
    route: str
    line: str


def examples() -> Iterator[Example]:
    """Every line below a piece of YAML, with the heading it stands under."""
    for section in re.split(r"^#+ ", TEXT, flags=re.MULTILINE):
        for match in _EXAMPLE.finditer(section):
            for line in match[2].splitlines():
                yield Example(section.partition("\n")[0], match[1], line)


def headers_in(text: str) -> CIMultiDict[str]:
    return CIMultiDict(_HEADER.findall(text))


def table_of(route: str) -> RouteTable:
    return load_json({"routes": [{"id": "here", "uri": "lb://service", **yaml.safe_load(route)}]})


def resolve(table: RouteTable, call: str) -> tuple[RouteMatch | None, CIMultiDict[str]]:
    found = re.match(r"(\w+) (\S+)(?: from (\S+))?", call)
    assert found is not None, call
    headers = headers_in(call)
    target = parse_target(found[2])
    host = headers.get("Host", "gw.test")
    return table.resolve(
        RequestAttributes(found[1], target, headers, found[3] or "127.0.0.1", host, "http")
    ), headers


@pytest.mark.parametrize(
    "example", list(examples()), ids=lambda example: f"{example.heading}: {example.line[:40]}"
)
def test_an_example_does_what_it_says(example: Example) -> None:
    table = table_of(example.route)
    if " answered " in example.line:
        _check_answer(table, example.line)
        return
    call, _, outcome = example.line.partition("->")
    outcome = outcome.strip()
    if outcome == "refused":
        with pytest.raises(BadRequest):
            resolve(table, call)
        return
    match, sent = resolve(table, call)
    if outcome == "no route":
        assert match is None
        return
    assert match is not None
    if outcome.startswith("answer "):
        assert match.answer is not None
        assert str(match.answer.status) == outcome.split()[1]
        assert set(headers_in(outcome).items()) <= set(match.answer.headers)
        return
    assert match.answer is None
    assert match.upstream_target == outcome.split()[0]
    _check_request(match, sent, outcome)


def _check_request(match: RouteMatch, sent: CIMultiDict[str], outcome: str) -> None:
    if " status " in outcome:
        assert str(match.changes.status) == outcome.rpartition(" ")[2]
    if " at most " in outcome:
        assert str(match.changes.body_limit) == outcome.rpartition(" ")[2]
    for edit in match.changes.request_headers:
        edit.apply(sent)
    if not match.changes.preserve_host:
        sent.popall("Host", None)
    if match.changes.request_headers or match.changes.preserve_host:
        assert sorted(_lower(sent)) == sorted(_lower(headers_in(outcome)))


def _check_answer(table: RouteTable, line: str) -> None:
    call, answered, outcome = re.split(r" answered | => ", line)
    match, _ = resolve(table, call)
    assert match is not None
    headers = headers_in(answered)
    for edit in match.changes.response_headers:
        edit.apply(headers)
    found, expected = sorted(_lower(headers)), sorted(_lower(headers_in(outcome)))
    if outcome.endswith("…"):
        assert set(expected) < set(found)
        assert len(found) == 8
    else:
        assert found == expected


def _lower(headers: CIMultiDict[str]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]


@pytest.mark.parametrize("name", [*PREDICATES, *FILTERS])
def test_every_predicate_and_filter_has_a_section_with_its_arguments_and_an_example(name: str) -> None:
    match = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert match is not None
    assert f"`{name}" in match[1]
    for arg in {**PREDICATES, **FILTERS}[name].args:
        assert f"`{arg.name}`" in match[1]
    assert _EXAMPLE.search(match[1]) is not None


@pytest.mark.parametrize(("heading", "names"), [("The file", FILE.names), ("A route", ROUTE.names)])
def test_every_section_and_key_has_a_row_and_nothing_else(heading: str, names: tuple[str, ...]) -> None:
    part = re.search(rf"^## {heading}\n(.*?)^##", TEXT, re.DOTALL | re.MULTILINE)
    assert part is not None
    rows = re.findall(r"^\| (`.*?) \|", part[1], re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`([\w-]+)`", row)] == list(names)


def test_each_name_that_is_known_and_not_supported_has_a_row_with_its_reason() -> None:
    part = TEXT.partition("### What is not supported")[2]
    rows = dict(re.findall(r"^\| (`.*?) \| (.*) \|$", part, re.MULTILINE))
    told = {name: reason for names, reason in rows.items() for name in re.findall(r"`(\w+)`", names)}
    known = NO_FILTERS | NO_PREDICATES
    assert told.keys() == known.keys()
    for name, reason in known.items():
        assert told[name].replace("`", "").lower().startswith(reason.partition(";")[0].lower())


SPRINGS_PREDICATES = (
    "After Before Between CloudFoundryRouteService Cookie Header Host Method Path Query ReadBody RemoteAddr Version "
    "Weight XForwardedRemoteAddr"
)
SPRINGS_FILTERS = (
    "AddRequestHeader AddRequestHeadersIfNotPresent AddRequestParameter AddResponseHeader CacheRequestBody "
    "CircuitBreaker DedupeResponseHeader FallbackHeaders JsonToGrpc LocalResponseCache MapRequestHeader "
    "ModifyRequestBody ModifyResponseBody PrefixPath PreserveHostHeader RedirectTo RemoveJsonAttributesResponseBody "
    "RemoveRequestHeader RemoveRequestParameter RemoveResponseHeader RequestHeaderSize RequestHeaderToRequestUri "
    "RequestRateLimiter RequestSize Retry RewriteLocationResponseHeader RewritePath RewriteRequestParameter "
    "RewriteResponseHeader SaveSession SecureHeaders SetPath SetRequestHeader SetRequestHostHeader SetRequestUri "
    "SetResponseHeader SetStatus StripPrefix TokenRelay"
)
"""All of Spring Cloud Gateway 5.0 for WebFlux: those of its reference, and of its factories."""


@pytest.mark.parametrize(
    ("names", "page", "supported", "unsupported"),
    [
        (SPRINGS_PREDICATES, "predicates", set(PREDICATES), set(NO_PREDICATES)),
        (SPRINGS_FILTERS, "filters", set(FILTERS), set(NO_FILTERS)),
    ],
)
def test_each_predicate_and_filter_of_spring_has_a_row_that_is_right(
    names: str, page: str, supported: set[str], unsupported: set[str]
) -> None:
    part = TEXT.partition("### Every predicate and filter")[2].partition("### What is not supported")[0]
    table = part.partition(f"| {page.removesuffix('s')} |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert list(rows) == names.split()
    for name, here in rows.items():
        if name in unsupported:
            assert here == "[a fault](#what-is-not-supported)"
        elif name in WITHOUT_EFFECT:
            assert here == f"[accepted, without effect]({page}.md#{name.lower()})"
        else:
            assert name in supported
            assert here == f"[supported]({page}.md#{name.lower()})"


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_filter_without_effect_is_accepted_with_a_warning(name: str) -> None:
    table = table_of(f"{{predicates: [Path=/**], filters: [{name}]}}")
    [warning] = table.warnings
    assert warning.rule == "no-effect"
    assert f"{name} has no effect here: " in warning.message
    assert warning.message.endswith("; leave it out")


@pytest.mark.parametrize("block", _BLOCK.findall(TEXT), ids=lambda block: block.partition(":")[0])
def test_the_other_sections_are_sound(block: str, tmp_path: Path) -> None:
    [template] = re.findall(
        r"```html\n(.*?)```", (ROOT / "docs" / "reference" / "gates.md").read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "page.html").write_text(template, encoding="utf-8")
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    assert parse(f"routes: []\n{block}".encode(), str(tmp_path / "docs.yaml"), {}).routes == ()
    assert len(_BLOCK.findall(TEXT)) >= 7


def test_every_rule_of_a_warning_is_in_the_table() -> None:
    gateway = ROOT / "gateway"
    files = [*(gateway / "routing").rglob("*.py"), gateway / "composition" / "page_warnings.py"]
    code = "\n".join(path.read_text("utf-8") for path in files)
    rules = set(re.findall(r'\bwarn\((?:[^"()]|\([^()]*\))*"([a-z]+(?:-[a-z]+)*)",', code))
    assert {"retry", "rate-limit", "gate-without-route", "fallback-ungated"} <= rules
    page = (ROOT / "docs" / "reference" / "routes.md").read_text("utf-8")
    table = page.partition("| rule | warns of |\n")[2].partition("\n\n")[0]
    listed = {rule for line in table.splitlines() for rule in re.findall(r"`([a-z-]+)`", line.split("|")[1])}
    # Those of the settings in a Config Server's files are on the page about settings.
    assert rules - {"setting", "trusted-proxies"} == listed
