"""What of a head goes on, and how heads are written: tables of before and after."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from multidict import CIMultiDict

from gateway.errors import BadRequest, UpstreamUnreachable
from gateway.proxy.forwarded import TrustedProxies, direct_origin, origin
from gateway.proxy.headers import (
    fold,
    keep_private,
    removed_prefix,
    request_head,
    response_head,
    response_headers,
    upstream_headers,
)

Fields = list[tuple[bytes, bytes]]
NOBODY = TrustedProxies()
PEER = "203.0.113.9"
TOLD = {
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-port",
    b"x-real-ip",
    b"x-forwarded-host",
}


def passed(raw: Fields, *, trusted: TrustedProxies = NOBODY, **options: object) -> Fields:
    """What reaches the service, without what the gateway tells it about the client."""
    headers = upstream_headers(
        raw,
        origin(raw, peer=PEER, scheme="http", host="gw.test", trusted=trusted),
        peer_trusted=PEER in trusted,
        **options,  # type: ignore[arg-type]
    )
    return [field for field in headers if field[0].lower() not in TOLD]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Authentication-Info",
        "Proxy-Connection",
        "Proxy",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Host",
        "Forwarded",
        "X-Real-IP",
        "X-Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
    ],
)
def test_what_is_for_us_or_unbelieved_stays_here_in_every_spelling(name: str) -> None:
    spellings = [
        name,
        name.lower(),
        name.upper(),
        name.replace("-", "_"),
        name.replace("-", "."),
        name.replace("-", "~"),
    ]
    for spelling in spellings:
        assert passed([(spelling.encode(), b"evil"), (b"Accept", b"*/*")]) == [(b"Accept", b"*/*")], spelling


@pytest.mark.parametrize(
    ("connection", "gone"),
    [
        (b"close", []),
        (b"keep-alive, X-One", [b"X-One"]),
        (b"X-One,x-TWO", [b"X-One", b"X-Two"]),
        (b" x_one ", [b"X-One"]),
        (b"host, X-Two", [b"X-Two"]),
        (b"", []),
        (b",,", []),
    ],
)
def test_what_connection_names_stays_here(connection: bytes, gone: list[bytes]) -> None:
    sent = [(b"Connection", connection), (b"X-One", b"1"), (b"X-Two", b"2")]
    left = passed(sent, upstream_host=b"svc")
    assert left == [(b"Host", b"svc")] + [field for field in sent[1:] if field[0] not in gone]


def test_what_the_gateway_sets_is_never_lost_to_connection() -> None:
    named = b"X-User-Id, X-Forwarded-For, X-Real-IP, Forwarded, Host"
    headers = upstream_headers(
        [(b"Connection", named), (b"X-User-Id", b"evil")],
        direct_origin(PEER, "https", "gw.test"),
        peer_trusted=False,
        upstream_host=b"svc",
        extra=[(b"X-User-Id", b"7")],
    )
    assert headers == [
        (b"Host", b"svc"),
        (b"Forwarded", b'proto=https;host="gw.test";for=203.0.113.9'),
        (b"X-Forwarded-For", b"203.0.113.9"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Port", b"443"),
        (b"X-Real-IP", b"203.0.113.9"),
        (b"X-Forwarded-Host", b"gw.test"),
        (b"X-User-Id", b"7"),
    ]


def test_the_rest_passes_in_order_repeats_and_odd_bytes_included() -> None:
    sent = [
        (b"Cookie", b"a=1"),
        (b"accept", b"x"),
        (b"Cookie", b"b=2"),
        (b"X-Odd", "좋".encode() + b"\xff"),
        (b"E", b""),
    ]
    assert passed(sent) == sent


def test_of_a_trusted_proxy_other_forwarded_headers_pass_when_spelled_right() -> None:
    trusted = TrustedProxies([ip_network("203.0.113.0/24")])
    sent = [
        (b"X-Forwarded-Prefix", b"/pre"),
        (b"X_Forwarded_Prefix", b"/evil"),
        (b"x_forwarded_for", b"1.2.3.4"),
    ]
    assert passed(sent, trusted=trusted) == [(b"X-Forwarded-Prefix", b"/pre")]


def test_names_fold_to_one_form() -> None:
    assert fold(b"X_Real.IP\xc3") == b"x-real-ip-"


@pytest.mark.parametrize(
    ("answer", "fields", "length"),
    [
        ([(b"Content-Length", b"2")], [], b"2"),
        ([(b"Content-Length", b"9" * 19)], [], b"9" * 19),
        ([(b"Transfer-Encoding", b"Chunked"), (b"A", b"b")], [(b"A", b"b")], None),
        ([(b"Connection", b"close, X-Hop"), (b"X-Hop", b"1"), (b"A", b"b")], [(b"A", b"b")], None),
        ([(b"Keep-Alive", b"timeout=5"), (b"Trailer", b"X"), (b"Upgrade", b"h2c"), (b"TE", b"x")], [], None),
        ([(b"Proxy-Authenticate", b"Basic"), (b"Proxy-Connection", b"x")], [], None),
        (
            [(b"Set-Cookie", b"a=1"), (b"Server", b"s"), (b"Set-Cookie", b"b=2"), (b"Date", b"d")],
            [(b"Set-Cookie", b"a=1"), (b"Server", b"s"), (b"Set-Cookie", b"b=2"), (b"Date", b"d")],
            None,
        ),
    ],
)
def test_an_answer_loses_what_was_for_one_hop(answer: Fields, fields: Fields, length: bytes | None) -> None:
    assert response_headers(answer) == (fields, length)


@pytest.mark.parametrize(
    "answer",
    [
        [(b"Transfer-Encoding", b"gzip")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"Content-Length", b"2"), (b"Content-Length", b"3")],
        [(b"Content-Length", b"2"), (b"content-length", b"2")],
        [(b"Content-Length", b"9" * 20)],
    ],
)
def test_an_answer_of_unclear_length_is_refused(answer: Fields) -> None:
    with pytest.raises(UpstreamUnreachable):
        response_headers(answer)


def test_a_request_head_is_written_with_one_host_and_our_framing() -> None:
    sent = [
        (b"A", b"1"),
        (b"Content-Length", b"99"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"x"),
    ]
    assert request_head("POST", "/a?b=%20", sent, b"svc:81", b"Content-Length: 2") == (
        b"POST /a?b=%20 HTTP/1.1\r\nHost: svc:81\r\nA: 1\r\nContent-Length: 2\r\n\r\n"
    )
    assert request_head("GET", "*", [(b"A", b"1"), (b"hOST", b"kept")], b"svc", b"") == (
        b"GET * HTTP/1.1\r\nHost: kept\r\nA: 1\r\n\r\n"
    )


@pytest.mark.parametrize("target", ["", "a", "http://evil/", "/a b", "/a\r\nX: y", "/a\nb", "/a\0", "//x y"])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(BadRequest):
        request_head("GET", target, [], b"svc", b"")


@pytest.mark.parametrize(
    "field",
    [
        (b"A", b"1\r\nB: 2"),
        (b"A\r\nB", b"1"),
        (b"A", b"1\n\r2"),
        *((b"A", b"1%c2" % control) for control in (*range(9), *range(10, 32), 127)),
    ],
)
def test_no_header_holds_a_control_character(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadRequest):
        request_head("GET", "/", [field], b"svc", b"")
    with pytest.raises(UpstreamUnreachable):
        response_head(200, "OK", [field], b"")


@pytest.mark.parametrize("reason", ["O\r\nX: y", "O\nK", "O\0K", "O\x1bK"])
def test_no_reason_holds_a_control_character(reason: str) -> None:
    with pytest.raises(UpstreamUnreachable):
        response_head(200, reason, [], b"")


def test_an_answers_head_keeps_reason_and_bytes() -> None:
    head = response_head(299, "좋\udcff", [(b"A", b"\t\x80\xff")], b"Content-Length: 0\r\nConnection: close")
    assert (
        head
        == b"HTTP/1.1 299 "
        + "좋".encode()
        + b"\xff\r\nA: \t\x80\xff\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("asked", "sent", "prefix"),
    [
        ("/a/b/c", "/b/c", "/a"),
        ("/a/b/c", "/c?x=/a", "/a/b"),
        ("/a/b/", "/b/", "/a"),
        ("/a/b/", "/b", "/a"),
        ("/a", "/", "/a"),
        ("/a/", "/", "/a"),
        ("/", "/", ""),
        ("/a/b", "/a/b", ""),
        ("/a/b", "/x/a/b", ""),
        ("/a/b", "/c", ""),
        ("/b/b/b", "/b", "/b/b"),
        ("/caf%C3%A9/x", "/x", "/caf%C3%A9"),
    ],
)
def test_what_a_route_takes_off_a_path_is_its_prefix(asked: str, sent: str, prefix: str) -> None:
    assert removed_prefix(asked, sent) == prefix


@pytest.mark.parametrize(
    ("raw", "trusted", "said"),
    [
        ([], TrustedProxies([ip_network("203.0.113.9")]), [b"/a"]),
        ([(b"X-Forwarded-Prefix", b"/p")], TrustedProxies([ip_network("203.0.113.9")]), [b"/p,/a"]),
        ([(b"x-forwarded-prefix", b"/p")] * 2, TrustedProxies([ip_network("203.0.113.9")]), [b"/p,/p,/a"]),
        ([(b"X-Forwarded-Prefix", b"/p")], NOBODY, []),
    ],
)
def test_a_prefix_is_told_behind_a_trusted_proxy(
    raw: Fields, trusted: TrustedProxies, said: list[bytes]
) -> None:
    sent = passed(raw, trusted=trusted, prefix="/a")
    assert [value for name, value in sent if name.lower() == b"x-forwarded-prefix"] == said


def test_an_answer_whose_connection_has_too_many_members_is_refused() -> None:
    kept = response_headers([(b"Connection", b"A" + b",b" * 50), (b"connection", b"," * 49), (b"a", b"1")])
    assert kept.fields == []
    with pytest.raises(UpstreamUnreachable):
        response_headers([(b"Connection", b"a" + b",b" * 50), (b"connection", b"," * 50)])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([("Cache-Control", "no-store")], [("Cache-Control", "no-store")]),
        ([("X-A", "é\udcff")], [("X-A", "é\udcff"), ("Cache-Control", "private")]),
        (
            [("Location", "/"), ("Cache-Control", "public, max-age=9"), ("CDN-Cache-Control", "max-age=9")],
            [("Location", "/"), ("Cache-Control", "private, max-age=9")],
        ),
        (
            [("Cache-Control", "no-store, public"), ("X-Accel-Expires", "9")],
            [("Cache-Control", "no-store, public")],
        ),
        (
            [("Cache-Control", 'max-age=9, ext="a, private, b"')],
            [("Cache-Control", 'private, max-age=9, ext="a, private, b"')],
        ),
        (
            [("Cache-Control", 'public, ext="a, no-store, b"')],
            [("Cache-Control", 'private, ext="a, no-store, b"')],
        ),
        (
            [("Cache-Control", "a" + ",a" * 50), ("Cache-Control", "a" + ",a" * 49)],
            [("Cache-Control", "private" + ", a" * 101)],
        ),
        ([("Cache-Control", "a" + ",a" * 50), ("Cache-Control", "," * 50)], [("Cache-Control", "no-store")]),
    ],
)
def test_an_answer_of_the_gateway_is_kept_from_shared_caches_like_one_of_a_service(
    given: list[tuple[str, str]], kept: list[tuple[str, str]]
) -> None:
    headers = CIMultiDict(given)
    keep_private(headers)
    assert sorted(headers.items()) == sorted(kept)
