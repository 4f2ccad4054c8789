"""PathPattern against what Spring's was seen to do."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.routing.path import parse_target
from gateway.routing.patterns import PathPattern, compile_pattern
from gateway.routing.spec.issues import RuleViolation
from tests.routing.vectors import Case, case_id, cases

# Not marked unsafe, matched there, refused here.
STRICTER = {
    "path-111": "a request target is never empty",
    "path-130": "a fragment has no place in a request target",
    "path-161": "%25C3 would be another path to a service that decodes twice",
    "path-163": "raw bytes beyond ASCII have no agreed reading",
    "path-307": "a request target is never empty",
}


def _compiled(sources: list[str]) -> list[PathPattern] | None:
    try:
        return [compile_pattern(source) for source in sources]
    except RuleViolation:
        return None


@pytest.mark.parametrize("case", cases("path_patterns"), ids=case_id)
def test_a_pattern_matches_what_springs_matches_or_something_stricter_is_asserted(case: Case) -> None:
    try:
        path = parse_target(case["path"]).path
    except BadRequest:
        refused = case.get("unsafe") or case.get("refusedUri") or case["id"] in STRICTER
        assert refused or "error" in case or not case["matches"]
        return
    assert not case.get("unsafe"), "an unsafe path must be refused"
    assert not case.get("refusedUri")
    patterns = _compiled(case["patterns"])
    if patterns is None:
        assert "error" in case or case.get("mayDiffer")
        return
    assert "error" not in case, "Spring refuses this pattern"
    found = next((pattern for pattern in patterns if pattern.match(path) is not None), None)
    assert (found is not None) == case["matches"]
    if found is not None:
        assert found.source == case["matchedPattern"]
        assert dict(found.match(path) or {}) == case["variables"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("foo", "must begin with '/'"),
        ("", "must begin with '/'"),
        ("/a//b", "empty segment"),
        ("//a", "empty segment"),
        ("/a/../b", "dot segment"),
        ("/a/...", "dot segment"),
        ("/a/..../b", "dot segment"),
        ("/a**", "inside a segment"),
        ("/a/**/b", "neither first nor last"),
        ("/**/a/**", "more than once"),
        ("/{*a}x", "mixes"),
        ("/{}", "without a name"),
        ("/{a}/{a}", "twice"),
        ("/{a", "without its '}'"),
        ("/{a/b}", "same segment"),
        ("/{{a}}", "nests"),
        ("/{1a}", "a letter first"),
        ("/{a:}", "no regex"),
        ("/{a:(b)}", "group"),
        ("/{a:[}", "no regex|not closed|without its"),
        ("/}", "without its '{'"),
        ("/a}", "without its '{'"),
        ("/{a}}", "without its '{'"),
        ("/a/b}c/**", "without its '{'"),
        ("/{a:[}]}", "not closed|without its"),
    ],
)
def test_a_pattern_that_can_not_mean_what_was_intended_is_refused_with_a_reason(
    source: str, why: str
) -> None:
    with pytest.raises(RuleViolation, match=why):
        compile_pattern(source)


@pytest.mark.parametrize(
    ("source", "path", "variables"),
    [
        ("/**", "/", {}),
        ("/{*rest}", "/a/b/", {"rest": "/a/b/"}),
        ("/**/{name}/end", "/x/y/end", {"name": "y"}),
        ("/{a:[a-z]{2}}/{b:\\d+}", "/ab/12", {"a": "ab", "b": "12"}),
        ("/{a:(?:x+)+}", "/xxx", {"a": "xxx"}),
        ("/{a:\\{[a-z]\\}}", "/{b}", {"a": "{b}"}),
        ("/a/{x}-{y:[0-9]+}.{z}/**", "/a/b-1.json/c", {"x": "b", "y": "1", "z": "json"}),
    ],
)
def test_variables_are_captured(source: str, path: str, variables: dict[str, str]) -> None:
    assert compile_pattern(source).match(path) == variables
    assert set(compile_pattern(source).variables) == set(variables)


def test_a_pattern_that_ignores_case_is_compared_with_folded_paths() -> None:
    wide = compile_pattern("/Api/{id:[a-f]+}/*.JSON", ignore_case=True)
    assert wide.match("/api/abc/x.json") is not None
    assert compile_pattern("/Api/x").match("/api/x") is None


@pytest.mark.parametrize(
    ("source", "literals"),
    [("/a/b/**", ("a", "b")), ("/a/{x}/b", ("a",)), ("/**/a", ()), ("/a*/b", ()), ("/", ("",))],
)
def test_the_literal_beginning_is_known(source: str, literals: tuple[str, ...]) -> None:
    assert compile_pattern(source).first_literals() == literals
