"""The canonical path: one reading or none."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.routing.path import MAX_TARGET, parse_target
from gateway.server.framing import MAX_SEGMENTS
from tests.support.effort import least_seconds

ACCEPTED = [
    # raw target, canonical path, raw path, raw query
    ("/", "/", "/", ""),
    ("/a", "/a", "/a", ""),
    ("/a/", "/a/", "/a/", ""),
    ("/a" * MAX_SEGMENTS + "?/" + "/" * 1000, "/a" * MAX_SEGMENTS, "/a" * MAX_SEGMENTS, "/" + "/" * 1000),
    ("/api/v1/auth/login", "/api/v1/auth/login", "/api/v1/auth/login", ""),
    ("/.well-known/jwks.json", "/.well-known/jwks.json", "/.well-known/jwks.json", ""),
    ("/%2ewell-known/x", "/.well-known/x", "/%2ewell-known/x", ""),
    ("/a..b/c.d", "/a..b/c.d", "/a..b/c.d", ""),
    ("/a.", "/a.", "/a.", ""),
    ("/a%20b", "/a b", "/a%20b", ""),
    ("/caf%C3%A9", "/café", "/caf%C3%A9", ""),
    ("/%EC%98%88%EB%A7%A4/1", "/예매/1", "/%EC%98%88%EB%A7%A4/1", ""),
    ("/a+b", "/a+b", "/a+b", ""),
    ("/a%2Bb", "/a+b", "/a%2Bb", ""),
    ("/a:b@c!$&'()*,=", "/a:b@c!$&'()*,=", "/a:b@c!$&'()*,=", ""),
    ("/us%65", "/use", "/us%65", ""),
    ("/a%25", "/a%", "/a%25", ""),
    ("/a%25zz", "/a%zz", "/a%25zz", ""),
    ("/a%25b", "/a%b", "/a%25b", ""),
    ("/a%3Bb", "/a;b", "/a%3Bb", ""),
    ("/a%3Fb", "/a?b", "/a%3Fb", ""),
    ("/a%23b", "/a#b", "/a%23b", ""),
    ("/a?x=/../;b//", "/a", "/a", "x=/../;b//"),
    ("/a?x=%20&y=+&z", "/a", "/a", "x=%20&y=+&z"),
    ("/a?q=%E9", "/a", "/a", "q=%E9"),
    ("/a?x[]=1", "/a", "/a", "x[]=1"),
    ("/a?x=%2f%2e%5c", "/a", "/a", "x=%2f%2e%5c"),
    ("/a?b?c", "/a", "/a", "b?c"),
    ("/a?", "/a", "/a", ""),
    ("/a?{}|^[]\\`\"<>'", "/a", "/a", "{}|^[]\\`\"<>'"),
    ("/a?x=%&y=%z&z=%zz&%", "/a", "/a", "x=%&y=%z&z=%zz&%"),
    ("/a?x=%0D%0A%00%7f", "/a", "/a", "x=%0D%0A%00%7f"),
    ("/a?x=\udce9\udcff", "/a", "/a", "x=\udce9\udcff"),
    ("/a?x=é예", "/a", "/a", "x=é예"),
    ("/a%20b?x=%zz|", "/a b", "/a%20b", "x=%zz|"),
    # what browsers send raw: one meaning, one form for the service
    ("/a|b", "/a|b", "/a%7Cb", ""),
    ("/a%7Cb", "/a|b", "/a%7Cb", ""),
    ("/a[1]^", "/a[1]^", "/a%5B1%5D%5E", ""),
    ("/a%5b1%5d%5e", "/a[1]^", "/a%5b1%5d%5e", ""),
    ("/a|%7C", "/a||", "/a%7C%7C", ""),
    ("/[..]/x", "/[..]/x", "/%5B..%5D/x", ""),
]

REFUSED = [
    "",
    "*",
    "a",
    "?x=1",
    "#x",
    "//",
    "//a",
    "/a//b",
    "/a//",
    "/.",
    "/..",
    "/...",
    "/a/./b",
    "/a/../b",
    "/a/..",
    "/%2e",
    "/%2e%2e/a",
    "/.%2E/a",
    "/%2E./a",
    "/..;/a",
    "/..;x=1/a",
    "/..%3b/a",
    "/..%3Bx=1/a",
    "/.%3b",
    "/a;x=1/b",
    "/a;",
    "/;",
    "/a%2Fb",
    "/a%2fb",
    "/..%2fb",
    "/a%5Cb",
    "/a%5cb",
    "/a\\b",
    "/a%00",
    "/a%0d%0ab",
    "/a%7F",
    "/a%C2%85b",  # a control character of the second block
    "/a%",
    "/a%2",
    "/a%zz",
    "/a%u002f",
    "/%E9",
    "/%C0%AE%C0%AE/a",  # overlong dots
    "/%C0%AFa",  # overlong slash
    "/%E0%80%AFa",
    "/%ED%A0%80",  # a lone surrogate
    "/%F8%80%80%80%AF",
    "/a%252eb",
    "/%252e%252e/a",
    "/a%252fb",
    "/a%252Fb",
    "/a%255cb",
    "/reservation%2573",
    "/a%25%32%66b",
    "/a%25u002fb",
    "/a%25c0%25af",
    "/a%EF%BC%8Fb",  # fullwidth solidus
    "/a%EF%BC%BCb",  # fullwidth reverse solidus
    "/%EF%BC%8E%EF%BC%8E/a",  # fullwidth dots
    "/%E2%80%A5/a",  # two dot leader
    "/%E2%84%80b",  # a character that folds to a/c
    "/.%E2%80%8B./a",  # dots with a character between them that nobody sees
    "/%20../a",
    "/.%20/a",
    "/.%C2%AD%EF%BC%8E/a",
    "/..%20%3bx/a",
    "/a%25%E2%80%8B2e",
    "/a%252%C2%AD0",
    "/a" + "%CC%81" * 31,
    "/" + "%EF%B7%BA" * 500,  # a sign for 18 letters
    "/a b",
    "/a\tb",
    "/a\x00",
    "/café",
    "/예매",
    "/\udce9",
    "/a<b>",
    "/a{b}",
    '/a"b',
    "/a`b",
    "/a#frag",
    "/a?x=1#frag",
    "/a?x=a b",
    "/a?x=a\tb",
    "/a?x=a\x00",
    "/a?x=a\x1f",
    "/a?x=a\x7f",
    "/a?#",
    "/a?x=a\r\nb",
    "http://gw.test/a",  # no Host to compare with
    "/" + "a" * MAX_TARGET,
    "/a" * (MAX_SEGMENTS + 1),
    "/|" * (MAX_SEGMENTS + 1) + "?x",
]


@pytest.mark.parametrize(("raw", "path", "raw_path", "raw_query"), ACCEPTED)
def test_a_target_with_one_reading_is_decoded_once_and_kept_as_sent(
    raw: str, path: str, raw_path: str, raw_query: str
) -> None:
    target = parse_target(raw)
    assert (target.path, target.raw_path, target.raw_query) == (path, raw_path, raw_query)
    assert target.has_query == ("?" in raw)


@pytest.mark.parametrize("raw", REFUSED)
def test_an_ambiguous_target_is_refused_without_echoing_it(raw: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_target(raw)
    assert refusal.value.reason
    assert len(raw) < 4 or raw not in refusal.value.reason


def test_an_empty_query_is_told_from_none() -> None:
    assert parse_target("/a?").has_query
    assert not parse_target("/a").has_query


@pytest.mark.parametrize(
    ("raw", "host", "path"),
    [
        ("http://gw.test/a?x=1", "gw.test", "/a"),
        ("http://gw.test", "gw.test", "/"),
        ("http://gw.test?x", "gw.test", "/"),
        ("HTTP://GW.test:80/a", "gw.test", "/a"),
        ("https://gw.test/a", "gw.test:443", "/a"),
        ("http://gw.test:8080/a", "gw.test:8080", "/a"),
        ("http://[::1]:8080/a", "[::1]:8080", "/a"),
    ],
)
def test_the_absolute_form_is_reduced_if_it_names_the_host(raw: str, host: str, path: str) -> None:
    assert parse_target(raw, host).path == path


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        ("http://evil.test/a", "gw.test"),
        ("https://evil.test:99/a", "gw.test"),
        ("http://gw.test:81/a", "gw.test"),
        ("https://gw.test/a", "gw.test:80"),
        ("http://user@gw.test/a", "gw.test"),
        ("http://user@gw.test/a", "user@gw.test"),
        ("http:///a", ""),
        ("http://gw.test/a/../b", "gw.test"),
        ("http://gw.test//a", "gw.test"),
        ("http://gw.test#/a", "gw.test"),
        ("http://gw.test\\@evil.test/a", "gw.test"),
        ("ftp://gw.test/a", "gw.test"),
        ("http:/a", "gw.test"),
    ],
)
def test_the_absolute_form_is_refused_otherwise(raw: str, host: str) -> None:
    with pytest.raises(BadRequest):
        parse_target(raw, host)


@given(
    st.lists(
        st.sampled_from(
            [
                "/",
                ".",
                "..",
                "%2e",
                "%2F",
                "%5c",
                "%25",
                "2f",
                "a",
                "B",
                ";",
                "%00",
                "%C0%AE",
                "%EC%98%88",
                "?",
                "%",
                "|",
                "[",
                "]",
                "^",
                "%5E",
            ]
        ),
        max_size=12,
    ).map("".join)
)
@example("a%25" + "2f")
def test_whatever_is_accepted_has_no_second_reading(text: str) -> None:
    try:
        target = parse_target("/" + text)
    except BadRequest:
        return
    segments = target.path.split("/")[1:]
    assert all(segments[:-1]), "an empty segment"
    assert not any(segment.strip(".") == "" and segment for segment in segments)
    assert not set(target.path) & {"\\", "\x00"}
    assert "%2" not in target.path
    query = "?" + target.raw_query if target.has_query else ""
    for raw, encoded in (("|", "%7C"), ("[", "%5B"), ("]", "%5D"), ("^", "%5E")):
        path, mark, rest = text.partition("?")
        text = path.replace(raw, encoded) + mark + rest
    assert target.raw_path + query == "/" + text


@pytest.mark.parametrize("raw", ["|", "[", "]", "^", "[]", "a|b^c"])
def test_what_browsers_send_raw_is_the_same_call_as_its_escape(raw: str) -> None:
    assert parse_target(f"/a/{raw}?q={raw}") == parse_target(f"/a/{quote(raw, safe='')}?q={raw}")


@pytest.mark.parametrize("path", ["/..|/a", "/a/|..", "/%2e%2e%7c/a"])
def test_no_raw_character_hides_a_dot_segment_or_makes_one(path: str) -> None:
    target = parse_target(path)
    assert parse_target(target.raw_path) == target
    with pytest.raises(BadRequest):
        parse_target(path.replace("|", "").replace("%7c", ""))


def test_the_longest_target_is_judged_in_linear_time() -> None:
    worst = "/" + "a." * (MAX_TARGET // 2 - 2) + "\x00"

    def judge() -> None:
        with pytest.raises(BadRequest):
            parse_target(worst)

    assert least_seconds(judge, 0.2) < 0.2
