"""Where requests begin and end, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.framing import (
    CHUNKS_PER_TURN,
    ChunkedBody,
    HeadEndScanner,
    RequestLineScanner,
    is_single_head,
)


def pieces(reads: list[bytes]) -> list[bytes]:
    """What the reads are cut into; a piece goes on in the next one unless it ends."""
    ends, cut = HeadEndScanner(), [b""]
    for data in reads:
        at = 0
        while at < len(data):
            end = ends.find_end(data, at)
            cut[-1] += data[at:end]
            if cut[-1].endswith(b"\r\n\r\n"):
                cut.append(b"")
            at = end
    return cut


@given(st.lists(st.text("\r\nab", max_size=9).map(str.encode), max_size=12))
def test_every_end_is_found_wherever_the_reads_end(reads: list[bytes]) -> None:
    whole = b"".join(reads)
    *full, rest = whole.split(b"\r\n\r\n")
    assert pieces(reads) == [*(one + b"\r\n\r\n" for one in full), rest]


GOOD = [
    b"GET / HTTP/1.1\r\n",
    b"\r\nGET / HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.0\r\nHost: h\r\n",
    b"M-SEARCH /\xff?x#y HTTP/1.1\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\n",
]
BAD = [
    b"get / HTTP/1.1\r\n",
    b"GEt / HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"GET /  HTTP/1.1\r\n",
    b"GET / x HTTP/1.1\r\n",
    b"GET\t/ HTTP/1.1\r\n",
    b"GET /\x00 HTTP/1.1\r\n",
    b"GET /\x7f HTTP/1.1\r\n",
    b"GET / HTTP/1.2\r\n",
    b"GET / HTTP/2.0\r\n",
    b"GET / RTSP/1.0\r\n",
    b"GET / HTTP/1.1 \r\n",
    b"GET / HTTP/1.1\n\r\n",
    b"GET /\r\n",
    b" GET / HTTP/1.1\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\n",
    b"G(T / HTTP/1.1\r\n",
    b"\r\n\r\n",
]


@pytest.mark.parametrize("line", GOOD)
def test_a_request_line_may_come_in_any_pieces(line: bytes) -> None:
    for size in (1, 2, 5, len(line)):
        watched = RequestLineScanner(100)
        assert all(watched.feed(line[at : at + size]) for at in range(0, len(line), size))
        assert watched.feed(b"whatever\r\n follows")
        watched.begin()
        assert not watched.feed(b"x\r\n\r\n")


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_is_none_is_refused_when_it_ends_at_the_latest(line: bytes) -> None:
    for size in (1, 2, 5, len(line)):
        watched = RequestLineScanner(100)
        assert not all(watched.feed(line[at : at + size]) for at in range(0, len(line), size))


REPLACED = [
    (b"FOO /a HTTP/1.1\r\n", b"GET /a HTTP/1.1\r\n", ("FOO", "/a")),
    (b"\r\nX /a?b HTTP/1.0\r\nHost: h\r\n", b"\r\nGET /a?b HTTP/1.0\r\nHost: h\r\n", ("X", "/a?b")),
    (b"GET /a?b=\xe9 HTTP/1.1\r\n", b"GET /a?b=~ HTTP/1.1\r\n", ("GET", "/a?b=\udce9")),
    ("VERSION-CONTROL /é HTTP/1.1\r\n".encode(), b"GET /~~ HTTP/1.1\r\n", ("VERSION-CONTROL", "/é")),
    (b"CONNECT h:443 HTTP/1.1\r\n", b"GET h:443 HTTP/1.1\r\n", ("CONNECT", "h:443")),
    (b"GET /a HTTP/1.1\r\nHost: h\r\n", b"GET /a HTTP/1.1\r\nHost: h\r\n", None),
    (b"PROPFIND /a?{|} HTTP/1.1\r\n", b"PROPFIND /a?{|} HTTP/1.1\r\n", None),
]


@pytest.mark.parametrize(("sent", "ready", "original"), REPLACED)
def test_a_parser_gets_a_line_that_it_takes_and_only_when_it_is_whole(
    sent: bytes, ready: bytes, original: tuple[str, str] | None
) -> None:
    for size in (1, 2, 7, len(sent)):
        watched = RequestLineScanner(100)
        given = b""
        for at in range(0, len(sent), size):
            piece = sent[at : at + size]
            assert watched.feed(piece)
            given += watched.output
            assert not given or b"\r\n" in given[2:]
        assert given == ready
        assert watched.original == original
        watched.begin()
        assert watched.original is None


def test_a_line_has_a_longest_length() -> None:
    watched = RequestLineScanner(100)
    assert watched.feed(b"GET /" + b"a" * 95)
    assert not watched.feed(b"a")


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\nG", False),
        (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", False),
        (b"get / HTTP/1.1\r\n\r\n", False),
        (b"FOO / HTTP/1.1\r\n\r\n", False),
        (b"GET /?\xe9 HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 100 + b"\r\n\r\n", False),
        (b"\n\r\n", False),
        (b"", False),
    ],
)
def test_one_whole_head_is_told_from_everything_else(data: bytes, whole: bool) -> None:
    assert is_single_head(data, 100) is whole


END = b"0\r\n\r\n"
BEHIND = b"GET / HTTP/1.1\r\n"


def follow(reads: list[bytes]) -> tuple[ChunkedBody, bytes, bytes]:
    """The body after all reads, what of them is for the parser, and what is behind its end."""
    body, passed = ChunkedBody(100, 5, 200), b""
    for number, data in enumerate(reads):
        at = 0
        while at < len(data) and not body.done and not body.fault:
            piece, at = body.feed(data, at)
            passed += piece
        if body.done or body.fault:
            return body, passed, data[at:] + b"".join(reads[number + 1 :])
    return body, passed, b""


@given(
    st.lists(st.binary(min_size=1, max_size=30), max_size=5),
    st.sampled_from([b"0\r\n", b"000\r\n", b"0;a=b\r\n", b'0;"x"\r\n']),
    st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nX-Length:5\r\nc:\r\n"]),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_a_chunked_body_ends_where_it_ends_however_it_is_cut(
    chunks: list[bytes], last: bytes, trailers: bytes, cuts: list[int]
) -> None:
    plain = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    whole = plain + last + trailers + b"\r\n" + BEHIND
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    body, passed, behind = follow([whole[begin:end] for begin, end in pairwise(places)])
    assert body.done
    assert not body.fault
    assert passed == plain + END
    assert behind == BEHIND


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n", b"g\r\n", b"-1\r\n", b"+1\r\n", b" 1\r\n", b"1 \r\n", b"0x1\r\n", b"1_0\r\n", b"1\n", b"1\rx",
        b";a\r\n", b"1;a\0\r\n", b"1;a\rb\r\n", b"f" * 16 + b"\r\n", b"1;" + b"a" * 100,
        b"0\r\nContent-LENGTH: 5\r\n", b"0\r\nTransfer-Encoding:\r\n", b"0\r\nA\r\n",
        b"0\r\n: b\r\n", b"0\r\nA : b\r\n", b"0\r\n A: b\r\n", b"0\r\nA: b\0\r\n", b"0\r\nA: b\nc",
        b"0\r\n" + b"A: b\r\n" * 6, b"0\r\n" + (b"A: " + b"b" * 90 + b"\r\n") * 3,
    ],
)  # fmt: skip
def test_what_is_no_chunked_body_is_told_as_soon_as_it_shows(data: bytes) -> None:
    for size in (1, 2, 3, 7, len(data)):
        body, passed, _ = follow([data[at : at + size] for at in range(0, len(data), size)])
        assert body.fault, size
        assert not body.done
        assert END not in passed


def test_chunks_of_one_byte_are_sound_and_chunks_of_hardly_anything_are_not() -> None:
    body, passed, _ = follow([b"1\r\nx\r\n" * 20_000 + END])
    assert body.done
    assert len(passed) == 120_005
    body, _, _ = follow([b"1;" + b"a" * 80 + b"\r\nx\r\n"] * 1000)
    assert body.fault


@pytest.mark.parametrize("size", [b"1", b"1;a=b"])
def test_a_body_of_tiny_chunks_is_read_in_small_parts(size: bytes) -> None:
    one = size + b"\r\nx\r\n"
    wire = one * 20_000 + END + BEHIND
    body, at, taken, passed = ChunkedBody(100, 5, 200), 0, [], b""
    while not body.done:
        piece, behind = body.feed(wire, at)
        taken.append(behind - at)
        passed += piece
        at = behind
    assert passed == b"1\r\nx\r\n" * 20_000 + END
    assert wire[at:] == BEHIND
    assert max(taken) <= CHUNKS_PER_TURN * len(one)
