"""Answers that arrive as a whole: read at once, or left to the usual way untouched."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import http_parser
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy import whole_answers
from gateway.proxy.whole_answers import MAX_BODY_BYTES, WholeAnswerParser
from tests.hostile.answers import OK, sized

PARSERS = (http_parser.HttpResponseParserC, http_parser.HttpResponseParserPy)


@pytest.fixture(params=PARSERS, ids=["C", "Python"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_answers, "HttpResponseParser", request.param)


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (sized(), 200, b"hello"),
        (sized(body=b""), 200, b""),
        (sized(b"A: b\r\n", status=b"HTTP/1.1 404 Not Found\r\n"), 404, b"hello"),
        (sized(status=b"HTTP/1.1 205 Reset Content\r\n", body=b""), 205, b""),
        (sized(body=b"x" * (MAX_BODY_BYTES - 1)), 200, b"x" * (MAX_BODY_BYTES - 1)),
        (OK + b"content-length:5\r\n\r\nhello", 200, b"hello"),
        (sized(b"A: caf\xc3\xa9\r\n"), 200, b"hello"),
        (sized(body=b"\r\n\r\n\0\xff"), 200, b"\r\n\r\n\0\xff"),
    ],
)
async def test_a_whole_answer_is_read_at_once(raw: bytes, status: int, body: bytes) -> None:
    parser = WholeAnswerParser(asyncio.get_running_loop())
    for _ in range(3):  # with one parser
        answer = parser.read(raw)
        assert answer is not None
        assert (answer[0].code, answer[1]) == (status, body)


LEFT = {
    "nothing": b"",
    "a part of the head": OK,
    "a part of the body": sized()[:-1],
    "more than the answer": sized() + b"x",
    "two answers": sized() + sized(),
    "a long body": sized(body=b"x" * MAX_BODY_BYTES),
    "no length": OK + b"\r\nhello",
    "a length behind a coding": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an interim answer": sized(status=b"HTTP/1.1 103 Early Hints\r\n"),
    "204": sized(status=b"HTTP/1.1 204 No Content\r\n", body=b""),
    "304": sized(status=b"HTTP/1.1 304 Not Modified\r\n"),
    "the status 000": sized(status=b"HTTP/1.1 000 OK\r\n"),
    "another protocol": sized(status=b"ICY 200 OK\r\n"),
    "the end of the connection": sized(b"Connection: close\r\n"),
    "HTTP/1.0": sized(status=b"HTTP/1.0 200 OK\r\n"),
    "a bare line feed": sized(b"A: b\n"),
    "an empty line of bare line feeds": sized(b"A: b\n\n"),
    "a bare carriage return": sized(b"A: b\rc\r\n"),
    "a zero byte": sized(b"A: b\0c\r\n"),
    "a folded line": sized(b" A: b\r\n"),
}


@pytest.mark.parametrize("name", LEFT)
async def test_anything_else_is_left_untouched(name: str) -> None:
    parser = WholeAnswerParser(asyncio.get_running_loop())
    assert parser.read(LEFT[name]) is None
    # And it does not spoil the next answer, which may be somebody else's.
    answer = parser.read(sized())
    assert answer is not None
    assert answer[1] == b"hello"


@given(raws=st.lists(st.sampled_from([*LEFT.values(), sized(), sized(b"A: b\r\n", body=b"x")]), max_size=30))
def test_no_answer_has_parts_of_another(raws: list[bytes]) -> None:
    async def read_all() -> None:
        parser = WholeAnswerParser(asyncio.get_running_loop())
        for raw in raws:
            answer = parser.read(raw)
            assert (answer is None) == (raw in LEFT.values())
            if answer is not None:
                assert raw.endswith(b"\r\n\r\n" + answer[1])
                assert len(answer[0].raw_headers) == raw.count(b"\r\n") - 2

    asyncio.run(read_all())
