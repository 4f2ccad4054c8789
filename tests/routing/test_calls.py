"""What opens matches narrowly, what protects matches widely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.calls import overlap, parse_call
from gateway.routing.faults import RuleBroken

OPENS = [
    # pattern, method, path, opened
    ("GET /a", "GET", "/a", True),
    ("GET /a", "HEAD", "/a", True),
    ("HEAD /a", "GET", "/a", False),
    ("GET /a", "POST", "/a", False),
    ("GET /a", "get", "/a", False),
    ("GET /a", "GET", "/a/", False),
    ("GET /a", "GET", "/A", False),
    ("POST /a", "HEAD", "/a", False),
    ("/a", "PURGE", "/a", True),
    ("/a/**", "GET", "/a", True),
    ("GET /{service}/v3/api-docs/**", "GET", "/auth/v3/api-docs/x", True),
    ("GET /{service}/v3/api-docs/**", "GET", "/a/b/v3/api-docs", False),
    ("POST /api/v1/tickets/*/use", "POST", "/api/v1/tickets/1/use", True),
    ("POST /api/v1/tickets/*/use", "POST", "/api/v1/tickets/1/use/", False),
]

PROTECTS = [
    ("POST /api/v1/x", "POST", "/api/v1/x", True),
    ("POST /api/v1/x", "POST", "/api/v1/x/", True),
    ("POST /api/v1/x", "POST", "/API/v1/X", True),
    ("POST /api/v1/x", "post", "/api/v1/x", True),
    ("POST /api/v1/x", "POST", "/api/v1/x;a=b", True),
    ("POST /api/v1/x", "POST", "/api;v=1/v1/x/", True),
    ("POST /api/v1/x/", "POST", "/api/v1/x", True),
    ("POST /api/v1/x", "GET", "/api/v1/x", False),
    ("POST /api/v1/x", "POST", "/api/v1/x/y", False),
    ("POST /api/v1/x", "POST", "/api/v1/xy", False),
    ("POST /x/**", "POST", "/X/y/Z", True),
    ("POST /x/**", "POST", "/x", True),
    ("GET /x", "HEAD", "/x", True),
    ("HEAD /x", "GET", "/x", True),
    ("/x", "PURGE", "/X/", True),
    ("POST /reservations", "POST", "/reſervations", True),  # long s
    ("POST /kinds", "POST", "/\u212ainds", True),  # the sign for kelvin
    ("POST /ıx", "POST", "/ıx", True),
    ("POST /api", "POST", "/ａｐｉ", True),  # fullwidth
    ("POST /{id:[^a-z]+}", "POST", "/ABC", True),
    ("POST /{id:\\d+}/x", "POST", "/12/X", True),
    ("POST /{id:\\d+}/x", "POST", "/me/x", False),
    ("/", "GET", "/", True),
    ("/a;b", "GET", "/a;b", True),
]


@pytest.mark.parametrize(("pattern", "method", "path", "opened"), OPENS)
def test_a_public_call_opens_exactly_what_it_says(pattern: str, method: str, path: str, opened: bool) -> None:
    assert parse_call(pattern).opens(method, path) is opened


@pytest.mark.parametrize(("pattern", "method", "path", "protected"), PROTECTS)
def test_a_gated_call_protects_every_form_of_itself(
    pattern: str, method: str, path: str, protected: bool
) -> None:
    assert parse_call(pattern).protects(method, path) is protected


@given(
    pattern=st.sampled_from(
        ["/a/**", "/a/*", "/{x}/b", "/a?/c", "/A/B", "/{x:[A-Z]+}/b", "/*.js", "/**/b", "/a/"]
    ),
    path=st.lists(st.sampled_from(["a", "A", "ab", "b", "B", "x.js", "É", "ı", "ß", "1"]), max_size=3),
    slash=st.sampled_from(["", "/"]),
)
def test_whatever_a_pattern_opens_it_would_also_protect(pattern: str, path: list[str], slash: str) -> None:
    call, text = parse_call(pattern), "/" + "/".join(path) + (slash if path else "")
    if call.opens("GET", text):
        for form in (text, text.upper() if text.isascii() else text, text.rstrip("/") or "/"):
            assert call.protects("GET", text), form


@pytest.mark.parametrize("source", ["", "GET", "GET a", "GET /a b", "FETCH /a", "get /a", "POST /a**", "/{a"])
def test_what_is_no_call_is_refused(source: str) -> None:
    with pytest.raises(RuleBroken):
        parse_call(source)


@pytest.mark.parametrize(
    ("gated", "public", "meet"),
    [
        ("POST /a", "POST /a", True),
        ("POST /a", "GET /a", False),
        ("POST /a", "/a", True),
        ("/a", "GET /a", True),
        ("HEAD /a", "GET /a", True),
        ("POST /A", "POST /a", True),
        ("POST /a/**", "POST /a/b/c", True),
        ("POST /a/b", "POST /a/**", True),
        ("POST /a", "POST /a/b", False),
        ("POST /a/**", "POST /**/z", True),
        ("POST /a/{x}/c", "POST /a/b/*", True),
        ("POST /a/*.js", "POST /a/*.css", False),
        ("POST /a/*.js", "POST /a/x*", True),
        ("POST /a/?b", "POST /a/cb", True),
        ("POST /a/?b", "POST /a/ccb", False),
        ("POST /a/{id:\\d+}", "POST /a/me", True),  # a regex counts as *
        ("POST /a/{*rest}", "POST /a", True),
        ("POST /a/b/**", "POST /a/c/**", False),
        ("POST /**/a", "POST /b/**", True),
        ("POST /" + "a*" * 20, "POST /" + "*b" * 20, True),
    ],
)
def test_a_call_that_is_both_gated_and_public_is_seen(gated: str, public: str, meet: bool) -> None:
    assert overlap(parse_call(gated), parse_call(public)) is meet
