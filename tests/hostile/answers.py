"""Answers of a service that is broken or has been taken over: what it sends, and what the client may get."""

from __future__ import annotations

from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nEVIL"
"""An answer behind an answer: whoever gets it has somebody else's."""


@dataclass(frozen=True)
class Reply:
    """``raw`` is sent, the connection ended behind it unless it ``stays``.

    ``statuses``: what the client may get, of which 0 is an answer that breaks off. ``body`` as far as it is complete.
    ``without``: headers that must not be there. aiohttp's parsers refuse not quite the same: where two statuses stand,
    either is sound.
    """

    raw: bytes
    statuses: tuple[int, ...] = (502,)
    body: bytes | None = None
    without: tuple[str, ...] = ()
    stays: bool = False
    method: str = "GET"


def sized(*headers: bytes, body: bytes = b"hello", status: bytes = OK) -> bytes:
    return status + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


SPLITTING = {
    "a second answer behind the first": Reply(sized() + EVIL, (200,), b"hello", stays=True),
    "a second answer behind nothing": Reply(sized(body=b"") + EVIL, (200,), b"", stays=True),
    "a second answer behind chunks": Reply(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + EVIL, (200,), b"hello", stays=True
    ),
    "a second answer behind 204": Reply(b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL, (204,), b"", stays=True),
    "a second answer behind 304": Reply(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + EVIL, (304,), b"", stays=True
    ),
    "a body behind 204": Reply(
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", (204,), b"", stays=True
    ),
    "chunks behind 204": Reply(
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        (204,),
        b"",
        without=("transfer-encoding",),
        stays=True,
    ),
    "stray bytes behind 204": Reply(b"HTTP/1.1 204 No Content\r\n\r\nstray", (204,), b"", stays=True),
    "stray bytes behind 304": Reply(b"HTTP/1.1 304 Not Modified\r\n\r\nstray", (304,), b"", stays=True),
    "a body behind 304": Reply(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", (304,), b"", stays=True
    ),
    "stray bytes behind 205": Reply(
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\nstray", (205,), b"", stays=True
    ),
    "a body behind HEAD": Reply(sized(), (200,), b"", stays=True, method="HEAD"),
    "chunks behind HEAD": Reply(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        (200,),
        b"",
        stays=True,
        method="HEAD",
    ),
    "stray bytes behind 204 to HEAD": Reply(
        b"HTTP/1.1 204 No Content\r\n\r\nstray", (204,), b"", stays=True, method="HEAD"
    ),
    "garbage behind it": Reply(sized() + b"\0\1garbage", (200,), b"hello", stays=True),
    "garbage behind nothing": Reply(sized(body=b"") + b"\0\1garbage", (200,), b"", stays=True),
    "garbage behind chunks": Reply(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\0\1garbage",
        (200,),
        b"hello",
        stays=True,
    ),
    "the beginning of an answer behind it": Reply(sized() + EVIL[:30], (200,), b"hello", stays=True),
    "a bare CR in a value": Reply(sized(b"A: b\rX-Evil: 1\r\n")),
    "CR CR LF behind a value": Reply(sized(b"A: b\r\r\n")),
    "a NUL in a value": Reply(sized(b"A: b\0c\r\n")),
    "a NUL in a name": Reply(sized(b"A\0: b\r\n")),
    "a space in a name": Reply(sized(b"A b: c\r\n")),
    "a space behind a name": Reply(sized(b"Set-Cookie : a=b\r\n")),
    "a tab behind a name": Reply(sized(b"Set-Cookie\t: a=b\r\n")),
    "spaces behind a name": Reply(sized(b"X-Other  : a=b\r\n")),
    "a space before the first name": Reply(OK + b" A: b\r\nContent-Length: 5\r\n\r\nhello"),
    "a vertical tab before a name": Reply(sized(b"\x0bA: b\r\n")),
    "a vertical tab behind a name": Reply(sized(b"A\x0b: b\r\n")),
    "a bracket in a name": Reply(sized(b"A(b): c\r\n")),
    "a quote in a name": Reply(sized(b'"A": c\r\n')),
    "a byte beyond ASCII in a name": Reply(sized(b"A\xe9: c\r\n")),
    "a control character in a value": Reply(sized(b"A: b\x01c\r\n")),
    "a vertical tab before a value": Reply(sized(b"A: \x0bb\r\n")),
    "a form feed behind a value": Reply(sized(b"A: b\x0c\r\n")),
    "an escape in a value": Reply(sized(b"A: \x1b[0m\r\n")),
    "a DEL in a value": Reply(sized(b"A: b\x7f\r\n")),
    "a tab in a value": Reply(sized(b"A: b\tc\r\n"), (200,), b"hello"),
    "bytes beyond ASCII in a value": Reply(sized(b"A: \x85\xa0\xff\r\n"), (200,), b"hello"),
    "a control character in a name": Reply(sized(b"A\x01: c\r\n")),
    "no colon": Reply(sized(b"nothing\r\n")),
    "no name": Reply(sized(b": b\r\n")),
    "a folded value": Reply(sized(b"A: b\r\n c\r\n"), (502, 200)),
    "a folded length": Reply(OK + b"Content-Length:\r\n 5\r\n\r\nhello", (502, 200)),
    "a coding in a folded value": Reply(
        sized(b"A: b\r\n Transfer-Encoding: chunked\r\n"),
        (502, 200),
        b"hello",
        without=("transfer-encoding",),
    ),
    "a folded coding": Reply(
        OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", (502, 200), b"hello"
    ),
    "a CR in the reason": Reply(sized(status=b"HTTP/1.1 200 O\rK\r\n")),
    "a NUL in the reason": Reply(sized(status=b"HTTP/1.1 200 O\0K\r\n")),
}

STATUS_LINES = {
    "no number": Reply(sized(status=b"HTTP/1.1 abc OK\r\n")),
    "of four digits": Reply(sized(status=b"HTTP/1.1 2000 OK\r\n")),
    "of two digits": Reply(sized(status=b"HTTP/1.1 20 OK\r\n")),
    "negative": Reply(sized(status=b"HTTP/1.1 -20 OK\r\n")),
    "below 100": Reply(sized(status=b"HTTP/1.1 099 OK\r\n")),
    "zero": Reply(sized(status=b"HTTP/1.1 000 OK\r\n")),
    "no version": Reply(sized(status=b"200 OK\r\n")),
    "HTTP/2": Reply(sized(status=b"HTTP/2 200 OK\r\n")),
    "HTTP/9.9": Reply(sized(status=b"HTTP/9.9 200 OK\r\n")),
    "another protocol": Reply(sized(status=b"ICY 200 OK\r\n")),
    "no line": Reply(b"\r\n\r\nhello"),
    "a page": Reply(b"<html>hello</html>"),
    "nothing": Reply(b""),
    "TLS": Reply(b"\x15\x03\x01\0\2\2\x46"),
    "above 599": Reply(sized(status=b"HTTP/1.1 999 Odd\r\n"), (502, 999)),
    "no reason": Reply(sized(status=b"HTTP/1.1 200 \r\n"), (200,), b"hello"),
}

FRAMING = {
    "two lengths": Reply(OK + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello" + EVIL),
    "two equal lengths": Reply(OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "chunked, with a tab behind it": Reply(
        OK + b"Transfer-Encoding: chunked\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunked between blanks": Reply(
        OK + b"Transfer-Encoding: \t chunked  \r\n\r\n5\r\nhello\r\n0\r\n\r\n", (200,), b"hello"
    ),
    "a list of lengths": Reply(OK + b"Content-Length: 5, 5\r\n\r\nhello"),
    "chunked, with a space behind the name": Reply(
        OK + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunked, with a tab behind the name": Reply(
        OK + b"Transfer-Encoding\t: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunked, with a space before the name": Reply(
        OK + b" Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunked, and chunked with a space": Reply(
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunked with a space, and a length": Reply(
        sized(b"Transfer-Encoding : chunked\r\n", body=b"5\r\nhello\r\n0\r\n\r\n")
    ),
    "chunked behind a vertical tab": Reply(
        OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunked before a vertical tab": Reply(
        OK + b"Transfer-Encoding: chunked\x0b\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "a length with a space behind the name": Reply(OK + b"Content-Length : 5\r\n\r\nhello"),
    "a length with a tab behind the name": Reply(OK + b"Content-Length\t: 5\r\n\r\nhello"),
    "a length with a space, and another one": Reply(
        OK + b"Content-Length : 5\r\nContent-Length: 3\r\n\r\nhello"
    ),
    "a length behind a vertical tab": Reply(OK + b"Content-Length: \x0b5\r\n\r\nhello"),
    "Connection with a space behind the name": Reply(sized(b"Connection : close\r\n")),
    "Upgrade with a space behind the name": Reply(sized(b"Upgrade : h2c\r\n")),
    "Proxy-Connection with a space behind the name": Reply(sized(b"Proxy-Connection : close\r\n")),
    "Keep-Alive with a space behind the name": Reply(sized(b"Keep-Alive : timeout=5\r\n")),
    "a negative length": Reply(OK + b"Content-Length: -5\r\n\r\nhello"),
    "a signed length": Reply(OK + b"Content-Length: +5\r\n\r\nhello"),
    "a hex length": Reply(OK + b"Content-Length: 0x5\r\n\r\nhello"),
    "an empty length": Reply(OK + b"Content-Length:\r\n\r\nhello", (502, 200)),
    "a length above 64 bits": Reply(OK + b"Content-Length: 18446744073709551621\r\n\r\nhello"),
    "a length and chunks": Reply(
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunks and a length": Reply(
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunks within gzip": Reply(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "gzip within chunks": Reply(OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nhello"),
    "another coding": Reply(OK + b"Transfer-Encoding: identity\r\n\r\nhello"),
    "chunked twice": Reply(OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    "a coding that is near to chunked": Reply(
        OK + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "a bad chunk at once": Reply(
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", (502, 0)
    ),
    "a bad chunk later": Reply(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\nx\r\n0\r\n\r\n", (502, 0)
    ),
    "a chunk without end": Reply(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhello", (502, 0)),
    "no last chunk": Reply(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", (502, 0)),
    "less than it said": Reply(OK + b"Content-Length: 50\r\n\r\nhello", (502, 0)),
    "trailers that are headers": Reply(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\nX-Evil: 1\r\n\r\n",
        (200,),
        b"hello",
        without=("set-cookie", "x-evil"),
    ),
    "until the end": Reply(OK + b"\r\nhello", (200,), b"hello"),
    "HTTP/1.0 until the end": Reply(b"HTTP/1.0 200 OK\r\n\r\nhello", (200,), b"hello"),
}

INTERIM = {
    "one": Reply(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + sized(), (200,), b"hello"),
    "with an end of the connection": Reply(
        b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n" + sized(), (200,), b"hello"
    ),
    "of HTTP/1.0": Reply(b"HTTP/1.0 103 Early Hints\r\n\r\n" + sized(), (200,), b"hello"),
    "with another protocol": Reply(
        b"HTTP/1.1 103 Early Hints\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + sized(),
        (200,),
        b"hello",
        without=("upgrade",),
    ),
    "many": Reply(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + sized()),
    "without end": Reply(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    "with another answer's headers": Reply(
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + sized(), (200,), b"hello"
    ),
    "with a coding": Reply(
        b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + sized(), (200,), b"hello"
    ),
    "with a body": Reply(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + sized()),
    "with a space behind a name": Reply(b"HTTP/1.1 103 Early Hints\r\nLink : </a>\r\n\r\n" + sized()),
    "101 that nobody asked for": Reply(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + EVIL
    ),
    "199": Reply(b"HTTP/1.1 199 Odd\r\n\r\n" + sized(), (502, 200), b"hello"),
}

SIZES = {
    "a thousand headers": Reply(sized(b"A: b\r\n" * 1000)),
    "headers without end": Reply(OK + b"A: b\r\n" * 100_000),
    "a header without end": Reply(OK + b"A: " + b"b" * 1_000_000),
    "a name without end": Reply(OK + b"a" * 1_000_000),
    "a status line without end": Reply(b"HTTP/1.1 200 " + b"O" * 1_000_000),
    "a long cookie": Reply(sized(b"Set-Cookie: a=" + b"b" * 16_000 + b"\r\n"), (200,), b"hello"),
}

HOP_BY_HOP = {
    "named in Connection": Reply(
        sized(b"Connection: X-Inner, close\r\n", b"X-Inner: 1\r\n"), (200,), b"hello", without=("x-inner",)
    ),
    "of the connection": Reply(
        sized(b"Keep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nTrailer: A\r\n"),
        (200,),
        b"hello",
        without=("keep-alive", "proxy-authenticate", "upgrade", "trailer"),
    ),
    "the length, in Connection": Reply(sized(b"Connection: Content-Length\r\n"), (200,), b"hello"),
}
