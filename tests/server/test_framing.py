"""Heads that go no further, as a table. How they arrive on the wire is the business of tests/hostile."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from gateway.routing.path import parse_target
from gateway.server.framing import MAX_SEGMENTS, has_too_many_segments, head_error, url_of, with_host

HOST = (b"Host", b"h")
LENGTH = (b"Content-Length", b"5")
CHUNKED = (b"Transfer-Encoding", b"chunked")


@dataclass
class Head:
    raw_headers: tuple[tuple[bytes, bytes], ...]
    method: str = "GET"
    version: HttpVersion = HttpVersion11

    @property
    def headers(self) -> CIMultiDict[str]:
        return CIMultiDict(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw_headers
        )


SOUND = [
    Head((HOST,)),
    Head((HOST,), version=HttpVersion10),
    Head(((b"Host", b""),)),
    Head(((b"Host", b""),), version=HttpVersion10),
    Head((), version=HttpVersion10),
    Head((HOST, LENGTH)),
    Head((HOST, (b"CONTENT-length", b"0"))),
    Head((HOST, CHUNKED)),
    Head((HOST, (b"transfer-ENCODING", b"CHUNKED"))),
    Head(((b"hOST", b"a.b-c:8080"),)),
    Head(((b"Host", b"127.0.0.1"),)),
    Head(((b"Host", b"[::1]:8080"),)),
    Head((HOST, (b"A", b"b\tc \xff"), (b"!#$%&'*+-.^_`|~", b""))),
    Head((HOST, (b"Connection", b"a" + b",a" * 50), (b"CONNECTION", b"," * 49))),
    Head((HOST, (b"Cookie", b"a=b" + b"; a=b" * 249), (b"COOKIE", b";" * 250))),
    Head((HOST, (b"Via", b"1.1 a" + b", 1.1 a" * 99))),
    Head((HOST, (b"Content_Length", b"x"), (b"Transfer_Encoding", b"x"))),
]


@pytest.mark.parametrize("head", SOUND)
def test_a_sound_head_has_no_fault(head: Head) -> None:
    assert head_error(head) is None


FAULTY = {
    "CONNECT is not for gateways": [Head((HOST,), method="CONNECT")],
    "there must be exactly one Host": [
        Head(()), Head((HOST, HOST)), Head((HOST, (b"Host", b""))), Head((HOST, (b"HOST", b"x"))),
        Head((HOST, HOST), version=HttpVersion10),
    ],
    "Host is malformed": [
        Head(((b"Host", value),))
        for value in (
            b" ", b"a b", b"a,b", b"u@h", b"h/", b"h?", b"h#", b"h:", b"h:a", b"h:123456", b"h:1:1", b"[::1",
            b"[g]", b"\xff", b"h\\", b"http://h",
        )
    ],
    "Connection has too many members": [
        Head((HOST, (b"Connection", b"a" + b",a" * 100))),
        Head((HOST, *[(b"Connection", b"," * 25)] * 4)),
    ],
    "Cookie has too many members": [
        Head((HOST, (b"Cookie", b"a=b" + b"; a=b" * 500))), Head((HOST, *[(b"cookie", b";" * 100)] * 5)),
    ],
    "Via has too many members": [
        Head((HOST, (b"Via", b"1.1 a" + b", 1.1 a" * 100))), Head((HOST, *[(b"VIA", b"," * 20)] * 5)),
    ],
    "the length of the body is given twice": [
        Head((HOST, LENGTH, LENGTH)), Head((HOST, CHUNKED, CHUNKED)), Head((HOST, CHUNKED, LENGTH)),
    ],
    "Content-Length is not a length": [
        Head((HOST, (b"Content-Length", value)))
        for value in (b"", b"+5", b"-5", b"5,5", b"0x5", b"5 5", b"5.0", b"1" * 19, b"\xb2")
    ],
    "a transfer coding other than chunked": [
        *(
            Head((HOST, (b"Transfer-Encoding", value)))
            for value in (b"", b"gzip, chunked", b"chunked,", b"identity", b"chunked;a", b"chun\xffked")
        ),
        Head((HOST, CHUNKED), version=HttpVersion10),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "head"), [(fault, head) for fault, heads in FAULTY.items() for head in heads]
)
def test_a_head_with_a_fault_is_told_by_its_reason(fault: str, head: Head) -> None:
    assert head_error(head) == fault


def test_a_path_of_too_many_segments_is_not_looked_up() -> None:
    """aiohttp's router takes quadratic time for it."""
    for begin in ("", "http://h"):
        assert url_of(f"{begin}{'/a' * (MAX_SEGMENTS + 1)}?b").path == "/"
    assert has_too_many_segments("/a" * (MAX_SEGMENTS + 1))
    assert not has_too_many_segments("/a" * MAX_SEGMENTS + "?" + "/" * MAX_SEGMENTS)
    assert url_of(f"http://h{'/a' * MAX_SEGMENTS}").path == "/a" * MAX_SEGMENTS


def message(target: str, *hosts: str, version: HttpVersion = HttpVersion10) -> RawRequestMessage:
    fields = [*(("Host", host) for host in hosts), ("A", "b")]
    raw = tuple((name.encode(), value.encode()) for name, value in fields)
    headers = CIMultiDictProxy(CIMultiDict(fields))
    return RawRequestMessage("GET", target, version, headers, raw, True, None, False, False, URL("/"))


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://shop.test/a", "shop.test"),
        ("HTTP://Shop.test:8080", "Shop.test:8080"),
        ("https://[::1]:8080?x", "[::1]:8080"),
    ],
)
def test_without_a_host_in_http_1_0_the_target_names_it(target: str, host: str) -> None:
    found = with_host(message(target))
    assert found.headers.getall("Host") == [host]
    assert found.headers.getall("A") == ["b"]
    assert found.raw_headers == ((b"Host", host.encode()), (b"A", b"b"))
    assert head_error(found) is None
    assert parse_target(found.path, host).raw_path in ("/a", "/")


@pytest.mark.parametrize(
    "same",
    [
        message("/a"),
        message("*"),
        message("//shop.test/a"),
        message("ftp://shop.test/a"),
        message("http:///a"),
        message("http://u@shop.test/a"),
        message("http://shop.test:/a"),
        message("http://shop.test/a", ""),
        message("http://shop.test/a", "other.test"),
        message("http://shop.test/a", "shop.test", "shop.test"),
        message("http://shop.test/a", version=HttpVersion11),
    ],
)
def test_any_other_request_stays_as_it_is(same: RawRequestMessage) -> None:
    assert with_host(same) is same
