"""Host patterns."""

from __future__ import annotations

import pytest

from gateway.routing.hosts import compile_host
from gateway.routing.spec.issues import RuleViolation


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.test", "A.TEST", True),
        ("a.test", "a.test.", False),
        ("a.test", "xa.test", False),
        ("**.b.c", "b.c", True),
        ("**.b.c", "x.y.b.c", True),
        ("**.b.c", "xb.c", False),
        ("a.**", "a", True),
        ("a.**", "a.b.c", True),
        ("a.**.z", "a.z", True),
        ("a.**.z", "a.b.c.z", True),
        ("*.b", "a.b", True),
        ("*.b", "b", False),
        ("a*.b", "a.b", True),
        ("a?.b", "ax.b", True),
        ("**", "anything:1", True),
        ("h:*", "h:80", True),
        ("{x:[a-z]{2}}.b", "ab.b", True),
        ("{x:[a-z]{2}}.b", "abc.b", False),
        ("{x:a.c}.b", "abc.b", True),
    ],
)
def test_a_host_matches_label_by_label(pattern: str, host: str, matches: bool) -> None:
    regex, _ = compile_host(pattern)
    assert bool(regex.fullmatch("." + host)) is matches


def test_labels_are_captured() -> None:
    regex, names = compile_host("{sub}.example.org:{port}")
    match = regex.fullmatch(".www.example.org:8080")
    assert match is not None
    assert dict(zip(names, match.groups(), strict=True)) == {"sub": "www", "port": "8080"}


@pytest.mark.parametrize("pattern", ["a b", "a,b", "a/b", "{x}.{x}", "{}.a", "{x:(a)}.b", "{x:[}.b"])
def test_what_no_host_can_match_is_refused(pattern: str) -> None:
    with pytest.raises(RuleViolation):
        compile_host(pattern)
