"""Answers of services, sound and broken, whole and in parts: both gateways pass on the same."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.fast_path.rig import Pair, one
from tests.fast_path.service import Do, Script
from tests.hostile import answers

pytestmark = pytest.mark.asyncio(loop_scope="package")

TARGET = "/open/scripted"
OK = b"HTTP/1.1 200 OK\r\n"
TABLES = {
    "splitting": answers.SPLITTING,
    "status": answers.STATUS_LINES,
    "framing": answers.FRAMING,
    "interim": answers.INTERIM,
    "size": answers.SIZES,
    "hop by hop": answers.HOP_BY_HOP,
}


@pytest.mark.parametrize("table", TABLES)
async def test_hostile_answers(usual: Pair, ruled: Pair, table: str) -> None:
    for reply in TABLES[table].values():
        script: Script = (reply.raw or b"\n", *(() if reply.stays else (Do.END,)))
        for pair in (usual, ruled):
            await pair.compare(one(f"{reply.method} {TARGET}"), script)


def in_parts(raw: bytes, *cuts: int) -> Script:
    """An answer in several writes, each of which the gateway reads before the next one."""
    places = (0, *cuts, len(raw))
    parts: list[bytes | Do] = []
    for begin, end in pairwise(places):
        parts += [raw[begin:end], Do.PAUSE]
    return tuple(parts)


def sized(body: bytes, *headers: bytes, status: bytes = OK) -> bytes:
    return status + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes) -> bytes:
    parts = (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts) + b"0\r\n\r\n"


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UNFRAMED = OK + b"X-A: b\r\n\r\nhello"

SCRIPTS: dict[str, Script] = {
    "head in two writes": in_parts(sized(b"hello"), 20),
    "head byte by byte": in_parts(sized(b"hello"), *range(1, 50)),
    "head without its last byte": in_parts(sized(b"hello"), len(sized(b"")) - 1),
    "head and body apart": in_parts(sized(b"hello"), len(sized(b"hello")) - 5),
    "body in two writes": in_parts(sized(b"hello"), len(sized(b"hello")) - 2),
    "chunks in parts": in_parts(chunked(b"hello", b"world"), 45, 50, 55, 60, 70),
    "chunks at once": (chunked(b"hello", b"world"),),
    "no chunks": (chunked(),),
    "a chunk of 20,000": (chunked(b"x" * 20_000),),
    "chunks with a pause": (chunked(b"a")[:-5], Do.PAUSE, b"1\r\nb\r\n", Do.PAUSE, b"0\r\n\r\n"),
    "chunks that break off": (chunked(b"hello")[:-7], Do.PAUSE, Do.END),
    "status 000": (b"HTTP/1.1 000 X\r\n\r\n",),
    "status 000 before an answer": (b"HTTP/1.1 000 X\r\n\r\n" + sized(b"hello"),),
    "status 000, then an answer": (b"HTTP/1.1 000 X\r\n\r\n", Do.PAUSE, sized(b"hello")),
    "hints": (HINTS + sized(b"hello"),),
    "hints before": (HINTS, Do.PAUSE, sized(b"hello")),
    "hints in parts": in_parts(HINTS + sized(b"hello"), 10, len(HINTS) - 1, len(HINTS) + 1),
    "hints twice": (HINTS, Do.PAUSE, HINTS, Do.PAUSE, sized(b"hello")),
    "hints, then the end": (HINTS, Do.PAUSE, Do.END),
    "hints, then reset": (HINTS, Do.PAUSE, Do.RESET),
    "continue": (CONTINUE + sized(b"hello"),),
    "continue before": (CONTINUE, Do.PAUSE, sized(b"hello")),
    "continue and hints": (CONTINUE + HINTS, Do.PAUSE, sized(b"hello")),
    "switching": (SWITCHING,),
    "switching, then an answer": (SWITCHING + sized(b"hello"),),
    "hints, then switching": (HINTS + SWITCHING,),
    "until the end": (UNFRAMED, Do.END),
    "until the end in parts": (*in_parts(UNFRAMED, 10, len(UNFRAMED) - 2), Do.END),
    "until a reset": (UNFRAMED, Do.PAUSE, Do.RESET),
    "empty until the end": (OK + b"\r\n", Do.END),
    "HTTP/1.0 with a length": (sized(b"hello", status=b"HTTP/1.0 200 OK\r\n"), Do.END),
    "HTTP/1.0 kept alive": (sized(b"hello", b"Connection: keep-alive\r\n", status=b"HTTP/1.0 200 OK\r\n"),),
    "close, and closed": (sized(b"hello", b"Connection: close\r\n"), Do.END),
    "close, but not closed": (sized(b"hello", b"Connection: close\r\n"),),
    "closed behind the answer": (sized(b"hello"), Do.END),
    "reset behind the answer": (sized(b"hello"), Do.PAUSE, Do.RESET),
    "longer than its length": (sized(b"hello") + b" world",),
    "longer than its length, later": (sized(b"hello"), Do.PAUSE, b" world"),
    "closed at once": (Do.END,),
    "reset at once": (Do.RESET,),
    "closed within the head": (OK, Do.PAUSE, Do.END),
    "closed within the body": (sized(b"hello")[:-2], Do.PAUSE, Do.END),
    "closed within the body at once": (sized(b"hello")[:-2], Do.END),
    "reset within the body": (sized(b"hello")[:-2], Do.PAUSE, Do.RESET),
    "closed behind the head": (sized(b"hello")[:-5], Do.PAUSE, Do.END),
    "204": (b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",),
    "204 with a length": (sized(b"", status=b"HTTP/1.1 204 No Content\r\n"),),
    "204 with a body": (sized(b"hello", status=b"HTTP/1.1 204 No Content\r\n"),),
    "204 with a body, later": in_parts(sized(b"hello", status=b"HTTP/1.1 204 No Content\r\n"), 50),
    "205": (b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",),
    "205 with a body": (sized(b"hello", status=b"HTTP/1.1 205 Reset Content\r\n"),),
    "304": (b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",),
    "304 with a body": (sized(b"hello", status=b"HTTP/1.1 304 Not Modified\r\n"),),
    "404": (sized(b"no", status=b"HTTP/1.1 404 Nothing Here\r\n"),),
    "500": (sized(b"no", status=b"HTTP/1.1 500 Oh\r\n"),),
    "599 without a reason": (sized(b"no", status=b"HTTP/1.1 599\r\n"),),
    "its own trace id": (sized(b"hello", b"X-Trace-Id: theirs\r\n"),),
    "many cookies": (sized(b"hello", *(b"Set-Cookie: a%d=b\r\n" % number for number in range(20))),),
    "odd bytes in values": (sized(b"hello", b"X-A: \xe9\xff\x85\r\n", b"X-B:\r\n", b"X-C:  a \t b \r\n"),),
    "names in odd case": (sized(b"hello", b"x-LOUD: A\r\n", b"CONTENT-TYPE: text/plain\r\n"),),
    "a server and a date": (sized(b"hello", b"Server: theirs\r\n", b"Date: never\r\n"),),
    "cors of its own": (sized(b"hello", b"Access-Control-Allow-Origin: *\r\n", b"Vary: Origin\r\n"),),
    "a cache of its own": (sized(b"hello", b"Cache-Control: max-age=60\r\n", b"X-Frame-Options: ALLOW\r\n"),),
    **{
        f"{size} bytes": (sized(b"x" * size),)
        for size in (0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20)
    },
    **{f"{size} bytes in chunks": (chunked(b"x" * size),) for size in (1, 16_384, 65_536, 1 << 20)},
    **{
        f"{size} bytes in two writes": (sized(b"x" * size)[:-9], Do.PAUSE, b"x" * 9)
        for size in (16_384, 65_536)
    },
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_answers_whole_and_in_parts(usual: Pair, ruled: Pair, name: str, method: str) -> None:
    script = SCRIPTS[name]
    if method == "HEAD" and "x" * 9 in str(script[0])[:2000]:
        script = (bytes(script[0]).split(b"\r\n\r\n")[0] + b"\r\n\r\n",)
    for pair in (usual, ruled):
        await pair.compare(one(f"{method} {TARGET}"), script)


@pytest.mark.parametrize(
    "name", ["head in two writes", "body in two writes", "chunks at once", "no chunks", "hints"]
)
async def test_connections_are_kept_behind_the_same_answers(usual: Pair, name: str) -> None:
    usual.scripts["/open/scripted"] = tuple(SCRIPTS[name])
    for side in (usual.fast, usual.plain):
        for case in (one(f"GET {TARGET}"), one("GET /open/a")):
            assert all((await side.outcome(case)).reused[1:])


@pytest.mark.parametrize("size", [0, 5, 65_536, 200_000])
async def test_answers_before_the_request_is_complete(usual: Pair, size: int) -> None:
    body = b"x" * size
    for script in ((Do.EARLY, sized(b"hello", b"Connection: close\r\n")), (Do.EARLY, sized(b"hello"))):
        if size > 65_536 and script[-1] is not Do.END:
            continue
        await usual.compare(one(f"POST {TARGET}", body=body), (*script, Do.END))


async def test_a_kept_connection_that_dies(usual: Pair) -> None:
    """A GET is repeated on a new connection; a POST is not."""
    script = (Do.DIE_IF_REUSED, sized(b"hello"))
    cases = {"GET": 200, "HEAD": 200, "POST": 502, "PUT": 502, "DELETE": 502}
    for method, status in cases.items():
        await usual.compare(one("GET /open/before"))
        outcome = await usual.compare(one(f"{method} {TARGET}"), script)
        assert outcome.got.startswith(b"HTTP/1.1 %d " % status)


async def test_a_kept_connection_that_the_service_has_closed(usual: Pair) -> None:
    for method in ("GET", "POST"):
        await usual.compare(one("GET /open/before"))
        for side in (usual.fast, usual.plain):
            for writer in list(side.service.open):
                writer.close()
        outcome = await usual.compare(one(f"{method} /open/after", b"Content-Length: 0\r\n"))
        assert outcome.got.startswith(b"HTTP/1.1 200 ")
