from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.auth.access import (
    LEAVE_CALL,
    STATUS_CALL,
    STREAM_CALL,
    Access,
    Credential,
    TokenSource,
    find_credential,
)
from gateway.errors import TokenInvalid

OTHER_CALL = ("POST", "/api/v1/reservations")
HEADER = ("Authorization", "Bearer from-header")
COOKIE = ("Cookie", "a=1; AUTH=from-cookie; b=2")
QUERY = "room=vip&access_token=from-query"
FORM = ("from-form",)


def headers(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


def found(
    call: tuple[str, str],
    *lines: tuple[str, str],
    query: str = "",
    form: Sequence[str] = (),
    cookie_name: str | None = "AUTH",
) -> str | None:
    credential = find_credential(*call, headers(*lines), query=query, form=form, cookie_name=cookie_name)
    return credential and credential.token


@pytest.mark.parametrize(
    ("call", "header", "form", "query", "cookie"),
    [
        (STATUS_CALL, True, False, False, True),
        (STREAM_CALL, True, False, True, True),
        (LEAVE_CALL, True, True, False, True),
        (OTHER_CALL, True, False, False, False),
        (("POST", "/api/v1/queue/lineup"), True, False, False, False),
        (("DELETE", "/api/v1/queue/waiting-token"), True, False, False, False),
        (("GET", "/api/v1/queue/leave"), True, False, False, False),
        (("POST", "/api/v1/queue/stream"), True, False, False, False),
        (("HEAD", "/api/v1/queue/stream"), True, False, False, False),
        (("HEAD", "/api/v1/queue/status"), True, False, False, False),
        (("get", "/api/v1/queue/stream"), True, False, False, False),
        (("GET", "/api/v1/queue/stream/"), True, False, False, False),
        (("GET", "/API/v1/queue/stream"), True, False, False, False),
        (("GET", "/api/v1/queue/stream/x"), True, False, False, False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_each_call_has_its_sources(
    call: tuple[str, str], header: bool, form: bool, query: bool, cookie: bool
) -> None:
    assert found(call, HEADER) == ("from-header" if header else None)
    assert found(call, form=FORM) == ("from-form" if form else None)
    assert found(call, query=QUERY) == ("from-query" if query else None)
    assert found(call, COOKIE) == ("from-cookie" if cookie else None)


@pytest.mark.parametrize(
    ("call", "order"),
    [
        (STATUS_CALL, ["from-header", "from-cookie"]),
        (STREAM_CALL, ["from-header", "from-query", "from-cookie"]),
        (LEAVE_CALL, ["from-header", "from-form", "from-cookie"]),
        (OTHER_CALL, ["from-header"]),
    ],
)
def test_what_is_said_on_purpose_comes_before_what_a_browser_adds(
    call: tuple[str, str], order: list[str]
) -> None:
    lines, query, form = [HEADER, COOKIE], QUERY, FORM
    seen = []
    while (token := found(call, *lines, query=query, form=form)) is not None:
        seen.append(token)
        if token == "from-header":
            lines.remove(HEADER)
        elif token == "from-cookie":
            lines.remove(COOKIE)
        else:
            query, form = "", ()
    assert seen == order


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("Bearer   abc  ", "abc"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Bearer a b", "a b"),
        ("Bearer a, Bearer b", "a, Bearer b"),
        ("Basic abc", None),
        ("Digest Bearer abc", None),
        ("Bearerabc", None),
        ("Bearer\tabc", None),
        ("abc", None),
        ("", None),
    ],
)
def test_only_the_bearer_scheme_carries_a_token(value: str, token: str | None) -> None:
    assert found(OTHER_CALL, ("authorization", value)) == token


def test_another_scheme_leaves_the_other_sources_alone() -> None:
    assert found(STATUS_CALL, ("Authorization", "Basic abc"), COOKIE) == "from-cookie"


@pytest.mark.parametrize(
    ("call", "lines", "query", "form"),
    [
        (OTHER_CALL, [HEADER, HEADER], "", ()),
        (OTHER_CALL, [HEADER, ("AUTHORIZATION", "Basic abc")], "", ()),
        (OTHER_CALL, [("Authorization", "Basic abc"), ("authorization", "Basic abc")], "", ()),
        (STREAM_CALL, [], "access_token=a&access_token=a", ()),
        (STREAM_CALL, [], "access_token=a&%61ccess_token=b", ()),
        (STREAM_CALL, [], "access_token=&access_token=b", ()),
        (STREAM_CALL, [], "&".join(["a=1"] * 101), ()),
        (LEAVE_CALL, [], "", ("a", "b")),
        (STATUS_CALL, [("Cookie", "AUTH=a; AUTH=b")], "", ()),
        (STATUS_CALL, [("Cookie", "AUTH=a"), ("Cookie", "AUTH=a")], "", ()),
        # two cookies as browsers write them, whatever older readers make of the quotes
        (STATUS_CALL, [("Cookie", 'x="y; AUTH=a; z=w"; AUTH=b')], "", ()),
        (STATUS_CALL, [("Cookie", 'AUTH="a"; AUTH=b')], "", ()),
        (STATUS_CALL, [("Cookie", "AUTH=; AUTH=b")], "", ()),
    ],
)
def test_two_tokens_in_one_place_are_refused(
    call: tuple[str, str], lines: list[tuple[str, str]], query: str, form: tuple[str, ...]
) -> None:
    with pytest.raises(TokenInvalid):
        found(call, *lines, query=query, form=form)


@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("access_token=a.b.c", "a.b.c"),
        ("access%5Ftoken=a%2Eb.c", "a.b.c"),
        ("room=vip&access_token=a.b.c&x", "a.b.c"),
        ("access_token=", None),
        ("access_token", None),
        ("Access_Token=a", None),
        ("xaccess_token=a", None),
        ("a=access_token=b", None),
        ("a;access_token=b", None),
        ("", None),
    ],
)
def test_the_query_is_read_like_a_form(query: str, token: str | None) -> None:
    assert found(STREAM_CALL, query=query) == token


@pytest.mark.parametrize(
    ("cookie", "token"),
    [
        ("AUTH=a.b.c", "a.b.c"),
        ('AUTH="a.b.c"', "a.b.c"),
        ("x=1;AUTH=a.b.c;y=2", "a.b.c"),
        ("x=1;  AUTH = a.b.c ; y=2", "a.b.c"),
        ("AUTH=a=b", "a=b"),
        # quotes do not keep a cookie together, and what they leave behind is none
        ('x="y; AUTH=bad"; AUTH=a.b.c', "a.b.c"),
        ('AUTH=a.b.c; x="y; AUTH=bad"', "a.b.c"),
        ('x="y; AUTH="; AUTH=a.b.c', "a.b.c"),
        ('x="; AUTH=a.b.c; y="', "a.b.c"),
        ('AUTH="x; AUTH=a.b.c"', None),
        ('AUTH="a.b.c', None),
        ('AUTH=a"b', None),
        ('AUTH=""a""', None),
        ("AUTH=a b", None),
        ("AUTH=a,b", None),
        ("AUTH=a\\b", None),
        ("AUTH=\u00e9", None),
        ('AUTH=""', None),
        ("auth=a.b.c", None),
        ("XAUTH=a.b.c", None),
        ("x=AUTH=a", None),
        ("AUTH", None),
        ("AUTH=", None),
        (";;;", None),
        ("", None),
    ],
)
def test_the_cookie_is_found_by_its_exact_name(cookie: str, token: str | None) -> None:
    assert found(STATUS_CALL, ("Cookie", cookie)) == token


@pytest.mark.parametrize("cookie_name", [None, ""])
@pytest.mark.parametrize("cookie", ["AUTH=a", "=a", "a", "; =a"])
def test_without_a_cookie_name_no_cookie_counts(cookie_name: str | None, cookie: str) -> None:
    assert found(STATUS_CALL, ("Cookie", cookie), cookie_name=cookie_name) is None


def test_with_cookies_on_all_calls_the_cookie_counts_wherever_nothing_before_it_does() -> None:
    for call in (OTHER_CALL, ("HEAD", "/api/v1/queue/stream"), ("DELETE", "/api/v1/queue/waiting-token")):
        lines = headers(COOKIE)
        everywhere = find_credential(*call, lines, cookie_name="AUTH", cookie_everywhere=True)
        assert everywhere == Credential("from-cookie", TokenSource.COOKIE)
        assert find_credential(*call, lines, cookie_everywhere=True) is None
        both = find_credential(*call, headers(HEADER, COOKIE), cookie_name="AUTH", cookie_everywhere=True)
        assert both == Credential("from-header", TokenSource.HEADER)
        # The other sources stay where they are.
        other = {"query": QUERY, "form": FORM}
        assert find_credential(*call, headers(), cookie_name="AUTH", cookie_everywhere=True, **other) is None


def test_a_credential_does_not_show_its_token() -> None:
    assert "secret" not in repr(Credential("secret", TokenSource.QUERY))


@dataclass(frozen=True)
class Opens:
    """A rule for one call exactly; a GET rule opens HEAD, as those of the route table do."""

    wanted_method: str
    wanted_path: str

    def opens(self, method: str, path: str) -> bool:
        same_method = method == self.wanted_method or (method == "HEAD" and self.wanted_method == "GET")
        return same_method and path == self.wanted_path


class OpensEverything:
    def opens(self, method: str, path: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("method", "path", "gated", "expected"),
    [
        ("GET", "/api/v1/products", False, True),
        ("HEAD", "/api/v1/products", False, True),
        ("POST", "/api/v1/auth/login", False, True),
        ("POST", "/api/v1/products", False, False),
        ("GET", "/api/v1/auth/login", False, False),
        ("GET", "/api/v1/other", False, False),
        ("GET", "/api/v1/products", True, False),
    ],
)
def test_a_call_is_open_when_a_rule_opens_it_and_no_gate_stands_before_it(
    method: str, path: str, gated: bool, expected: bool
) -> None:
    access = Access([Opens("GET", "/api/v1/products"), Opens("POST", "/api/v1/auth/login")])
    assert access.is_open(method, path, gated=gated) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/queue", False),
        ("/api/v1/queue/", False),
        ("/api/v1/queue/status", False),
        ("/api/v1/queue/anything/else", False),
        ("/api/v1/queues", True),
        ("/api/v1", True),
    ],
)
def test_no_rule_opens_the_queue(path: str, expected: bool) -> None:
    assert Access([OpensEverything()]).is_open("GET", path) is expected


def test_without_rules_nothing_is_open() -> None:
    assert not Access(()).is_open("GET", "/")
