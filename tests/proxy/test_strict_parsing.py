"""What aiohttp's two parsers make of an answer, sound or odd: the gateway's verdict is the same with both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from aiohttp import client_proto, http_parser

from gateway.errors import UpstreamUnreachable
from gateway.proxy import whole_answers
from gateway.proxy.headers import response_head, response_headers
from gateway.proxy.strict_parsing import (
    CHUNKS_PER_TURN,
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    MAX_LINES,
    ChunkChecker,
    head_end,
)
from gateway.proxy.upstream_protocol import UpstreamProtocol
from gateway.proxy.whole_answers import WholeAnswerParser
from tests.hostile import answers

OK = answers.OK
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
C, PYTHON = http_parser.HttpResponseParserC, http_parser.HttpResponseParserPy

Verdict = list[tuple[bytes, bytes | None]]
"""The heads as a client would get them, each with its body; None for a body that breaks off."""


async def verdict(parser: type, raw: bytes, cut: int, *, head_asked: bool = False) -> Verdict | None:
    """What a client gets of ``raw``, read in pieces of ``cut`` bytes; None if that is an error at once."""
    handler = UpstreamProtocol(asyncio.get_running_loop())
    handler.connection_made(Mock(get_extra_info=lambda name, default=None: None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_proto, "HttpResponseParser", parser)
        handler.expect_response(body_follows=not head_asked)
        for at in range(0, len(raw), cut):
            handler.data_received(raw[at : at + cut])
    handler.connection_lost(None)
    found: Verdict = []
    while handler._buffer:
        (message, body), _ = handler._buffer.popleft()
        try:
            headers = response_headers(message.raw_headers)
            head = response_head(message.code, message.reason, headers.fields, headers.length or b"")
        except UpstreamUnreachable:
            return None
        if message.chunked is False and "Transfer-Encoding" in message.headers:
            return None
        broken = body.exception() is not None or not body.is_eof()
        found.append((head, None if broken else b"".join(getattr(body, "_buffer", ()))))
        if message.code >= 200:
            # An error is told as long as nothing was sent, and what was sent depends on how the body was cut.
            return None if broken else found
    return None


async def same(raw: bytes, *, head_asked: bool = False) -> Verdict | None:
    """The verdict with both parsers, in one piece and in many."""
    found = [
        await verdict(parser, raw, cut, head_asked=head_asked)
        for parser in (C, PYTHON)
        for cut in (len(raw), 7 if len(raw) < 5000 else 5000)
    ]
    assert all(one == found[0] for one in found), raw[:200]
    if not head_asked:
        for parser in (C, PYTHON):
            at_once = read_whole(parser, raw)
            assert at_once is None or at_once == found[0], raw[:200]
    return found[0]


def read_whole(parser: type, raw: bytes) -> Verdict | None:
    """What a client gets of ``raw`` if the gateway reads it as a whole answer; None if it is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_answers, "HttpResponseParser", parser)
        answer = WholeAnswerParser(asyncio.get_running_loop()).read(raw)
    if answer is None:
        return None
    message, body = answer
    try:
        headers = response_headers(message.raw_headers)
        head = response_head(message.code, message.reason, headers.fields, headers.length or b"")
    except UpstreamUnreachable:
        return None
    return [(head, body)]


def test_both_parsers_are_there() -> None:
    assert C is not PYTHON


def recorded() -> Iterator[object]:
    for name in ("SPLITTING", "STATUS_LINES", "FRAMING", "INTERIM", "SIZES", "HOP_BY_HOP"):
        for about, reply in getattr(answers, name).items():
            yield pytest.param(reply, id=f"{name}: {about}")


@pytest.mark.parametrize("reply", list(recorded()))
async def test_hostile_answers_have_one_verdict(reply: answers.Reply) -> None:
    if reply.raw:
        await same(reply.raw, head_asked=reply.method == "HEAD")


PLACES = {
    "before the version": b"%b" + answers.sized(),
    "in the protocol": answers.sized(status=b"HTT%b/1.1 200 OK\r\n"),
    "as major version": answers.sized(status=b"HTTP/%b.1 200 OK\r\n"),
    "as minor version": answers.sized(status=b"HTTP/1.%b 200 OK\r\n"),
    "before the status": answers.sized(status=b"HTTP/1.1%b200 OK\r\n"),
    "in the status": answers.sized(status=b"HTTP/1.1 20%b OK\r\n"),
    "behind the status": answers.sized(status=b"HTTP/1.1 200%bOK\r\n"),
    "instead of a reason": answers.sized(status=b"HTTP/1.1 200%b\r\n"),
    "in the reason": answers.sized(status=b"HTTP/1.1 200 O%bK\r\n"),
    "behind the reason": answers.sized(status=b"HTTP/1.1 200 OK%b\r\n"),
    "before a name": answers.sized(b"%bA: b\r\n"),
    "in a name": answers.sized(b"A%bb: c\r\n"),
    "behind a name": answers.sized(b"A%b: c\r\n"),
    "before a value": answers.sized(b"A:%bb\r\n"),
    "in a value": answers.sized(b"A: b%bc\r\n"),
    "behind a value": answers.sized(b"A: b%b\r\n"),
    "before a length": OK + b"Content-Length:%b5\r\n\r\nhello",
    "behind a length": OK + b"Content-Length: 5%b\r\n\r\nhello",
    "before a coding": OK + b"Transfer-Encoding:%bchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "behind a coding": OK + b"Transfer-Encoding: chunked%b\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "behind Connection": answers.sized(b"Connection: close%b\r\n"),
    "before a size": CHUNKED + b"%b5\r\nhello\r\n0\r\n\r\n",
    "behind a size": CHUNKED + b"5%b\r\nhello\r\n0\r\n\r\n",
    "in an extension": CHUNKED + b"5;a%bb\r\nhello\r\n0\r\n\r\n",
    "in a quoted extension": CHUNKED + b'5;a="%b"\r\nhello\r\n0\r\n\r\n',
    "behind a chunk": CHUNKED + b"5\r\nhello%b\r\n0\r\n\r\n",
    "behind the last size": CHUNKED + b"5\r\nhello\r\n0%b\r\n\r\n",
    "in a trailer's name": CHUNKED + b"5\r\nhello\r\n0\r\nA%b: b\r\n\r\n",
    "in a trailer's value": CHUNKED + b"5\r\nhello\r\n0\r\nA: b%bc\r\n\r\n",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_whatever_byte_stands_there_the_verdict_is_one(place: bytes) -> None:
    for byte in range(256):
        await same(place.replace(b"%b", bytes([byte])))


LENGTHS = [
    b"Content-Length: %b" % value
    for value in (
        b"05",
        b"5,5",
        b"5 5",
        b"1_0",
        b"\xb2",
        b"9" * 19,
        b"9" * 20,
        b"9" * 5000,
        b"18446744073709551615",
    )
]
CODINGS = [
    b"Transfer-Encoding: %b" % value
    for value in (
        b"Chunked",
        b",chunked",
        b"chunked,",
        b"chunked;q=1",
        b'"chunked"',
        b"chunked \t ",
        b"chunked\t\t",
        b"",
    )
]
FIELDS = [
    *LENGTHS,
    *CODINGS,
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\ncontent-length: 05",
    b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Connection: upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 5",
    b"Content-Encoding: gzip\r\nContent-Length: 5",
    b"A:",
    b": b",
    b"A",
    b"A:b\r\n\tc",
    b" A: b",
    b"A: b\n c",
]
BODIES = [
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n00\r\n\r\n",
    b"FFFFFFFFFFFFFFFF\r\nhello",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nA b\r\n\r\n",
    b"5\r\nhello\r\n0\r\n",
]


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("field", FIELDS)
async def test_whatever_frames_an_answer_the_verdict_is_one(version: bytes, field: bytes) -> None:
    head = version + b" 200 OK\r\n" + field + b"\r\n\r\n"
    await same(head, head_asked=True)
    for body in BODIES:
        await same(head + body)
    await same(head.replace(b"\r\n", b"\n") + b"hello")


@pytest.mark.parametrize("more", range(-8, 9))
async def test_limits_do_not_depend_on_the_parser(more: int) -> None:
    size = MAX_LINE_BYTES + more
    await same(answers.sized(b"A: " + b"b" * size + b"\r\n"))
    await same(answers.sized(b"A" * size + b": b\r\n"))
    await same(answers.sized(status=b"HTTP/1.1 200 " + b"O" * size + b"\r\n"))
    await same(answers.sized(b"A: b\r\n" * (MAX_LINES + more)))


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (answers.sized(), b"hello"),
        (b"\r\n" + answers.sized(), b"hello"),
        (b"\r\n\r\n\n" + answers.sized(), b"hello"),
        (b"HTTP/1.1 103 Hints\r\n\r\n\r\n" + answers.sized(), b"hello"),
        (b"HTTP/1.1 103 Hints\nA: b\n\nHTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
        (answers.sized(status=b"HTTP/1.1 200\r\n"), b"hello"),
        (answers.sized(status=b"HTTP/1.1 200 K\xc3\xa4se \t\r\n"), b"hello"),
        (answers.sized(b"A:\r\n"), b"hello"),
        (answers.sized(b"A: %b\r\n" % (b"b" * (MAX_LINE_BYTES - 10))), b"hello"),
        (answers.sized(b"A: b\r\n" * (MAX_LINES - 10)), b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b'05 ;a;b=c;d="e f"\r\nhello\r\n000\r\nA: b\r\nC:\r\n\r\n', b"hello"),
        (OK.replace(b"\r\n", b"\n") + b"Content-Length: 5\n\nhello", b"hello"),
        (OK.replace(b"\r\n", b"\n") + b"Transfer-Encoding: chunked\n\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (OK + b"\r\nhello", b"hello"),
    ],
)
async def test_what_is_sound_is_taken(raw: bytes, body: bytes) -> None:
    found = await same(raw)
    assert found is not None
    assert found[-1][1] == body


async def test_a_head_without_end_is_not_kept_for_ever() -> None:
    handler = UpstreamProtocol(asyncio.get_running_loop())
    handler.connection_made(Mock(get_extra_info=lambda name, default=None: None))
    handler.expect_response(body_follows=True)
    handler.data_received(OK)
    line = b"A: " + b"b" * 30_000 + b"\r\n"
    for _ in range(MAX_HEAD_BYTES // len(line) + 1):
        assert handler.exception() is None
        handler.data_received(line)
    assert handler.exception() is not None


def test_a_head_ends_with_its_first_empty_line() -> None:
    assert head_end(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\n\n") == 25
    assert head_end(b"HTTP/1.1 200 OK\nA: b\n\nbody\r\n\r\n") == 22
    assert head_end(b"HTTP/1.1 200 OK\nA: b\n\r\nbody\n\n") == 23
    assert head_end(b"HTTP/1.1 200 OK\nA: b\n\nbody") == 22
    assert head_end(b"HTTP/1.1 200 OK\r\n") == 17


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100])
def test_chunks_are_followed_however_they_are_cut(cut: int) -> None:
    raw = b'5;a="b"\r\nhe\r\no\r\nA\r\n0123456789\r\n0\r\nA: b\r\n\r\n'
    chunks = ChunkChecker()
    for at in range(0, len(raw), cut):
        assert not chunks.done
        assert chunks.feed(raw[at : at + cut]) == len(raw[at : at + cut])
    assert chunks.done


@pytest.mark.parametrize("parser", [C, PYTHON])
@pytest.mark.parametrize("lost", [None, ConnectionResetError()])
async def test_an_answer_of_tiny_chunks_is_read_in_many_turns_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, parser: type, lost: Exception | None
) -> None:
    monkeypatch.setattr(client_proto, "HttpResponseParser", parser)
    handler = UpstreamProtocol(asyncio.get_running_loop())
    transport = Mock(get_extra_info=lambda name, default=None: None, is_closing=lambda: False)
    handler.connection_made(transport)
    handler.expect_response(body_follows=True)
    handler.data_received(CHUNKED)
    _, body = await handler.read()
    many, turns = 10 * CHUNKS_PER_TURN, 0
    handler.data_received(b"1\r\nx\r\n" * many)
    handler.data_received(b"1\r\ny\r\n0\r\n\r\n")
    assert body.total_bytes <= CHUNKS_PER_TURN
    assert transport.pause_reading.called
    if lost is not None:
        # Nothing of what has arrived is lost with the connection.
        handler.connection_lost(lost)
    while not body.is_eof():
        before = body.total_bytes
        await asyncio.sleep(0)
        assert body.total_bytes - before <= CHUNKS_PER_TURN
        turns += 1
    assert turns >= (9 if lost is None else 0)
    assert body.total_bytes == many + 1
    assert handler.ended_cleanly is (lost is None)
