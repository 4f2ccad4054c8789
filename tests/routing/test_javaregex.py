"""Java's regexes and replacements in Python's dialect."""

from __future__ import annotations

import pytest

from gateway.routing.faults import RuleBroken
from gateway.routing.javaregex import compile_java, parse_replacement


@pytest.mark.parametrize(
    ("java", "text", "matches"),
    [
        (r"(?<year>\d{4})-\k<year>", "2026-2026", True),
        (r"(?i)yes", "YES", True),
        (r"((?i)a|b)c", "Bc", True),
        (r"((?i)a|b)c", "BC", False),
        (r"\Qa.b\E+", "a.bb", True),
        (r"\Qa.b\E", "axb", False),
        (r"\Qa.b", "a.b", True),
        (r"\p{Alpha}+\p{Digit}", "ab1", True),
        (r"[\p{Alpha}_]+", "a_b", True),
        (r"\p{IsAlpha}", "a", True),
        (r"a++b", "aab", True),
        (r"(?>a+)b", "aab", True),
        (r"[^/]+", "a b", True),
        (r"[]a]", "]", True),
        (r"[^]a]", "b", True),
        (r"[a--b]", "-", True),
        (r"\d", "٣", False),  # ASCII digits only
        (r"\w", "é", False),
        (r"a{2}", "aa", True),
        (r"a{2,}", "aaa", True),
        (r"a\{", "a{", True),
        (r"a}", "a}", True),
        (r"(?:a)(?=b)b(?<=b)", "ab", True),
        (r"a\z", "a", True),
    ],
)
def test_what_both_dialects_know_is_translated(java: str, text: str, matches: bool) -> None:
    assert bool(compile_java(java).fullmatch(text)) is matches


@pytest.mark.parametrize(
    "java",
    [
        "(",
        ")",
        "[",
        "[a",
        "*",
        "a{1",
        "a{,3}",
        "/{segment}",
        "(?P<n>a)",
        "(?<1a>b)",
        "(?<a_b>c)",
        "[a-z&&[^b]]",
        "[[a]]",
        r"\p{Lu}",
        r"\P{Alpha}",
        r"a(?i)b",
        "(?u)a",
        "a{99999999999999999999}",
        "(a+)+",
        r"(?:\d*)*",
        "([a-z]+)*x",
        "(?<n>.*)+",
    ],
)
def test_what_java_or_the_translation_refuses_is_a_fault(java: str) -> None:
    with pytest.raises(RuleBroken) as refusal:
        compile_java(java)
    assert refusal.value.rule == "regex"


def test_a_repetition_within_something_else_is_fine() -> None:
    assert compile_java("(?:/[a-z]+)+").fullmatch("/a/b")
    assert compile_java("(?:[^/]+/)*x").fullmatch("a/b/x")


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
    ],
)
def test_a_replacement_expands_as_in_java(pattern: str, replacement: str, text: str, result: str) -> None:
    regex = compile_java(pattern)
    assert regex.sub(parse_replacement(replacement, regex).expand, text) == result


@pytest.mark.parametrize("replacement", ["$2", "${t}", "$", "$x", "${s", "a$"])
def test_a_replacement_that_names_no_group_is_a_fault(replacement: str) -> None:
    with pytest.raises(RuleBroken):
        parse_replacement(replacement, compile_java("(?<s>a)"))
