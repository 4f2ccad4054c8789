"""Java's regexes and replacements, as Java itself reads them, on engines of linear or bounded time."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.routing import matcher
from gateway.routing.java_regex import compile_java, parse_replacement, quoted
from gateway.routing.matcher import MatchingTimeout
from gateway.routing.spec.issues import RuleViolation

RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("java_regexes.json").read_text(encoding="utf-8")
)["cases"]


@pytest.fixture(autouse=True)
def _meter() -> Iterator[None]:
    yield
    matcher.stop_meter()


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: str(case["pattern"]))
def test_a_regex_means_what_it_means_to_java(case: dict[str, Any]) -> None:
    if case.get("refused"):
        with pytest.raises(RuleViolation) as refusal:
            compile_java(case["pattern"])
        assert refusal.value.rule == "regex"
        return
    regex = compile_java(case["pattern"])
    marked = parse_replacement("<$0>", regex)
    for text, groups, replaced in case["texts"]:
        match = regex.fullmatch(text)
        assert (None if match is None else list(match.groups())) == groups, text
        assert regex.matches(text) is (groups is not None), text
        if replaced is not None:
            assert regex.replace(text, marked.expand) == replaced, text


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: str(case["pattern"]))
def test_both_engines_agree(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if case.get("refused") or compile_java(case["pattern"]).unbounded_by:
        return
    regex = compile_java(case["pattern"])
    marked = parse_replacement("<$0>", regex)

    def found() -> list[tuple[Any, str]]:
        texts = [text for text, _, _ in case["texts"]]
        matches = [regex.fullmatch(text) for text in texts]
        groups = [None if match is None else match.groups() for match in matches]
        return list(zip(groups, [regex.replace(text, marked.expand) for text in texts], strict=True))

    by_re2 = found()
    monkeypatch.setattr(matcher, "MAX_RUN", -1)
    assert found() == by_re2


@pytest.mark.parametrize(
    ("java", "text", "matches"),
    [
        (r"(?<year>\d{4})-\k<year>", "2026-2026", True),
        (r"((?i)a|b)c", "BC", False),
        (r"\Qa.b\E", "axb", False),
        (r"\d", "٣", False),  # ASCII digits only
        (r"\w", "é", False),
        (r"(?i)k", "\u212a", False),  # nor are other letters the same in another case
        (r"a{2}", "aa", True),
        (r"(a+)+", "aaa", True),  # linear, however it is nested
        (r"a(?i)b", "aB", True),
        (r".", "\udce9", True),  # a byte of a header that is no UTF-8
        (r"[^/]+", "caf\udce9", True),
    ],
)
def test_what_is_written_for_java_is_understood(java: str, text: str, matches: bool) -> None:
    assert compile_java(java).matches(text) is matches


@pytest.mark.parametrize(
    "java",
    [
        *(
            "(?P<n>a)",
            "(?u:a",
            r"\p{Nothing}",
            r"\X",
            r"\G",
            r"\b{g}",
            "a{99999999999999999999}",
            "a{\u0661}",
            "a{1,\u0661}",
            "[a&&&b]",
            "[a&&]",
        ),
        *("(?U)a", "(" * 200 + ")" * 200, "[" * 200 + "a" + "]" * 200, "\ud800", "(a", "a)"),
    ],
)
def test_what_is_not_understood_is_a_fault(java: str) -> None:
    with pytest.raises(RuleViolation) as refusal:
        compile_java(java)
    assert refusal.value.rule == "regex"


@pytest.mark.parametrize("text", ["/a.b", "a|b*[c]", "é\u200b", "\t", "x{1}"])
def test_a_quoted_text_matches_itself_alone(text: str) -> None:
    assert compile_java(quoted(text)).matches(text)
    assert not compile_java(quoted(text)).matches(text + "x")


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "result"),
    [
        ("/red/(?<s>.*)", r"/$\{s}", "/red/x", "/x"),
        ("/red/(?<s>.*)", "/${s}", "/red/x", "/x"),
        ("/(.*)", "/b/$1", "/x", "/b/x"),
        ("/(.*)", "/b$0", "/x", "/b/x"),
        ("(a)", "$10", "a", "a0"),
        ("(a)(b)?", "[$2]", "a", "[]"),
        ("a", r"\$1\\", "a", "$1\\"),
        ("a", "b", "banana", "bbnbnb"),
        ("/red", "", "/red/x", "/x"),
        ("x*", "-", "éx日", "-é--日-"),
        ("(?i)/RED", "/r", "/red/Red", "/r/r"),
        ("[^a]", "-", "a\udce9日a", "a--a"),
        ("(?<=a)b", "-", "abcb", "a-cb"),
    ],
)
def test_a_replacement_expands_as_in_java(pattern: str, replacement: str, text: str, result: str) -> None:
    regex = compile_java(pattern)
    assert regex.replace(text, parse_replacement(replacement, regex).expand) == result


def test_bytes_that_are_no_utf_8_stay_as_they_are() -> None:
    regex = compile_java("b")
    assert regex.replace("a\udce9b\udcff", lambda match: "-") == "a\udce9-\udcff"


@pytest.mark.parametrize("replacement", ["$2", "${t}", "$", "$x", "${s", "a$", "$٣", "a\\"])
def test_a_replacement_that_names_no_group_is_a_fault(replacement: str) -> None:
    with pytest.raises(RuleViolation):
        parse_replacement(replacement, compile_java("(?<s>a)"))


LINEAR = [
    (r"/shop/(?<cat>.*)/item/(?<id>.*)/view", "/shop" + "/item/shop" * 800 + "/x"),
    (r".+@.+[.].+[.].+x", "@." * 4000),
    (r".*-.*-.*[.]html", "-" * 8000),
    (r"(a+)+b", "a" * 8000),
    (r"(?:a|aa)*b", "a" * 8000),
    (r"([a-z]+)*x1", "a" * 8000),
    (r"(.*)(.*)(.*)(.*)x", "a" * 8000),
    (r"(\w+\s?)*!", "a " * 4000),
    (r"(?:[^/]+/?)*;", "a/" * 4000),
]


@pytest.mark.parametrize(("java", "text"), LINEAR)
def test_what_would_stall_a_backtracking_matcher_is_run_by_re2(java: str, text: str) -> None:
    regex = compile_java(java)
    assert (regex.unbounded_by, regex.warning) == ("", "")
    # Within what one request has for all of its matching.
    matcher.start_meter(matcher.ROUTE_MICROSECONDS)
    assert not regex.matches(text)
    assert regex.replace(text[:500], lambda match: "") is not None


BOUNDED = [
    (r"(a+)+(?=b)c", "a" * 8000, "a look-ahead"),
    (r"(?<!x)(a|aa)*b", "a" * 8000 + "bb", "a look-behind"),
    (r"(.*)(.*)(.*)\1x", "ab" * 4000 + "xx", "a back-reference"),
    (r"(?:a++|b)*?(?:a|aa)*b", "a" * 8000 + "bb", "a possessive repetition"),
    (r"(?>a|b)(a|aa)*b", "a" * 8000 + "bb", "an atomic group"),
    (r"(?:.?){1500}b.*c", "b" * 8000 + "cb", "a repetition that is too large"),
]


@pytest.mark.parametrize(("java", "text", "why"), BOUNDED)
def test_what_re2_does_not_run_is_given_up_and_said_of(
    java: str, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    compile_java.cache_clear()
    regex = compile_java(java)
    assert regex.unbounded_by == why
    assert why in regex.warning
    for _ in range(2):
        matcher.start_meter(1000)
        with caplog.at_level(logging.WARNING), pytest.raises(MatchingTimeout):
            regex.matches(text)
    # Once, with the regex and without the text.
    assert [record.getMessage().count("a" * 20) for record in caplog.records] == [0]
    assert java in caplog.text.replace("\\\\", "\\")


def test_what_is_left_of_a_requests_time_counts_for_all_regexes_together() -> None:
    regexes = [compile_java(rf"(a+)+(?=b{number})c") for number in range(20)]
    matcher.start_meter(1000)
    with pytest.raises(MatchingTimeout):
        regexes[0].matches("a" * 8000)
    # Nothing is left for the others, not even for what would be quick.
    for regex in regexes[1:]:
        with pytest.raises(MatchingTimeout):
            regex.matches("a")
    with pytest.raises(MatchingTimeout):
        compile_java("b").matches("a")


def test_a_program_too_large_for_the_length_of_a_text_is_bounded_too() -> None:
    regex = compile_java(r"(?:(?:(?:x.*){1,10}){1,50}|z)y")
    assert regex.unbounded_by == ""
    assert regex.matches("xxy")
    matcher.start_meter(1000)
    with pytest.raises(MatchingTimeout):
        regex.matches("xy" * 4000 + "z")


def test_very_many_matches_are_given_up() -> None:
    # Each search is linear, all of them are not.
    regex = compile_java("a.*b|a")
    matcher.start_meter(1000)
    with pytest.raises(MatchingTimeout):
        regex.replace("a" * 8000, lambda match: "c")


def test_putting_in_many_replacements_counts_as_time_too() -> None:
    regex = compile_java("a")
    matcher.start_meter(matcher.ROUTE_MICROSECONDS)
    try:
        with pytest.raises(MatchingTimeout):
            regex.replace("a" * matcher.ROUTE_MICROSECONDS, lambda _: "b")
    finally:
        matcher.stop_meter()
    assert regex.replace("a" * 100, lambda _: "b") == "b" * 100
