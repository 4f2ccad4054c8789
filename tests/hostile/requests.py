"""Requests that two servers could read differently, or that try what they may not: what is sent, and what must happen.

A case says what the service may see, to the byte of the body. Nothing else may ever reach it as a complete request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.hostile.rig import request

SMUGGLED = b"GET /open/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
"""Seen by the service, it is where it should not be, unless the gateway has answered it too."""
NOTHING: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """``sent`` in so many writes; ``statuses`` of the answers in their order, none for an ended connection.

    ``seen``: the complete requests the service gets. ``closes``: the connection is over after the last answer (None:
    it may be). ``python``: what is different without aiohttp's C extension, which forgives other things.
    """

    sent: tuple[bytes, ...]
    statuses: tuple[int, ...] = (400,)
    seen: tuple[str, ...] = NOTHING
    closes: bool | None = True
    end: bool = False
    python: Case | None = None


def post(*headers: bytes, body: bytes = b"", line: str = "POST /open/a HTTP/1.1") -> bytes:
    return request(line, *headers, body=body)


def refused(*sent: bytes) -> Case:
    """400, the end, and nothing for the service."""
    return Case(sent)


def passes(*sent: bytes, seen: str = "POST /open/a") -> Case:
    """One sound request."""
    return Case(sent, (200,), (seen,), closes=False)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
EMPTY = b"0\r\n\r\n"


def coding(line: bytes, *more: bytes) -> Case:
    """Some spelling of a transfer coding, with a request behind what some servers take for the body's end."""
    return refused(post(line, *more, body=EMPTY + SMUGGLED))


TRANSFER_CODINGS = {
    "CL.TE": refused(post(b"Content-Length: 5\r\n", CHUNKED, body=EMPTY + SMUGGLED)),
    "CL.TE with a long length": refused(post(b"Content-Length: 50\r\n", CHUNKED, body=EMPTY + SMUGGLED)),
    "TE.CL": refused(post(CHUNKED, b"Content-Length: 4\r\n", body=b"5c\r\n" + SMUGGLED + EMPTY)),
    "a length of 0 and chunks": refused(post(CHUNKED, b"Content-Length: 0\r\n", body=EMPTY + SMUGGLED)),
    "xchunked": coding(b"Transfer-Encoding: xchunked\r\n"),
    "chunkedx": coding(b"Transfer-Encoding: chunkedx\r\n"),
    "x chunked": coding(b"Transfer-Encoding: x chunked\r\n"),
    "chunked x": coding(b"Transfer-Encoding: chunked x\r\n"),
    "chunked and a length": coding(b"Transfer-Encoding: xchunked\r\n", b"Content-Length: 5\r\n"),
    "a list that ends in chunked": coding(b"Transfer-Encoding: gzip, chunked\r\n"),
    "a list that begins with chunked": coding(b"Transfer-Encoding: chunked, identity\r\n"),
    "identity, chunked": coding(b"Transfer-Encoding: identity, chunked\r\n"),
    "chunked twice in a list": coding(b"Transfer-Encoding: chunked, chunked\r\n"),
    "chunked and a comma": coding(b"Transfer-Encoding: chunked,\r\n"),
    "a comma and chunked": coding(b"Transfer-Encoding: , chunked\r\n"),
    "chunked with a parameter": coding(b"Transfer-Encoding: chunked;q=1\r\n"),
    "chunked in quotes": coding(b'Transfer-Encoding: "chunked"\r\n'),
    "identity": coding(b"Transfer-Encoding: identity\r\n"),
    "no coding": coding(b"Transfer-Encoding:\r\n"),
    "no coding, and a length": coding(b"Transfer-Encoding:\r\n", b"Content-Length: 5\r\n"),
    "chunked twice": coding(CHUNKED, CHUNKED),
    "chunked and then something": coding(CHUNKED, b"Transfer-Encoding: x\r\n"),
    "something and then chunked": coding(b"Transfer-Encoding: x\r\n", CHUNKED),
    "chunked and then identity": coding(CHUNKED, b"Transfer-encoding: identity\r\n"),
    "a vertical tab before": coding(b"Transfer-Encoding: \x0bchunked\r\n"),
    "a form feed behind": coding(b"Transfer-Encoding: chunked\x0c\r\n"),
    "a vertical tab behind": coding(b"Transfer-Encoding: chunked\x0b\r\n"),
    "a NUL inside": coding(b"Transfer-Encoding: chun\0ked\r\n"),
    "a NUL behind": coding(b"Transfer-Encoding: chunked\0\r\n"),
    "a byte beyond ASCII": coding(b"Transfer-Encoding: chunked\xff\r\n"),
    "a letter that folds to k": coding("Transfer-Encoding: chun\u212aed\r\n".encode()),
    "a space before the colon": coding(b"Transfer-Encoding : chunked\r\n"),
    "a tab before the colon": coding(b"Transfer-Encoding\t: chunked\r\n"),
    "a NUL before the colon": coding(b"Transfer-Encoding\0: chunked\r\n"),
    "a space before the name": coding(b" Transfer-Encoding: chunked\r\n"),
    "a space before the name, further down": coding(b"A: b\r\n", b" Transfer-Encoding: chunked\r\n"),
    "folded": coding(b"Transfer-Encoding:\r\n chunked\r\n"),
    "folded with a tab": coding(b"Transfer-Encoding: x\r\n\tchunked\r\n"),
    "behind a bare LF": coding(b"A: b\nTransfer-Encoding: chunked\r\n"),
    "behind a bare CR": coding(b"A: b\rTransfer-Encoding: chunked\r\n"),
    "behind CR CR LF": coding(b"A: b\r\r\nTransfer-Encoding: chunked\r\n"),
    "no colon": coding(b"Transfer-Encoding chunked\r\n"),
    "in HTTP/1.0": refused(post(CHUNKED, body=EMPTY + SMUGGLED, line="POST /open/a HTTP/1.0")),
    "in HTTP/1.0, kept alive": refused(
        post(CHUNKED, b"Connection: keep-alive\r\n", body=EMPTY + SMUGGLED, line="POST /open/a HTTP/1.0")
    ),
    "in HTTP/1.0, with a length": refused(
        post(CHUNKED, b"Content-Length: 5\r\n", body=EMPTY + SMUGGLED, line="POST /open/a HTTP/1.0")
    ),
    # what is sound, and must arrive in the one spelling that there is
    "in mixed case": passes(post(b"tRANSFER-eNCODING: ChUnKeD\r\n", body=EMPTY)),
    "without a space": passes(post(b"Transfer-Encoding:chunked\r\n", body=EMPTY)),
    "with blanks before it": passes(post(b"Transfer-Encoding: \t chunked\r\n", body=EMPTY)),
    "with a space behind it": passes(post(b"Transfer-Encoding: chunked \r\n", body=EMPTY)),
    "with a tab behind it": replace(
        coding(b"Transfer-Encoding: chunked\t\r\n"),
        python=Case(
            (post(b"Transfer-Encoding: chunked\t\r\n", body=EMPTY + SMUGGLED),),
            (200, 200),
            ("POST /open/a", "GET /open/smuggled"),
            closes=False,
        ),
    ),
    "spelled with an underscore, beside a length": passes(
        post(b"Transfer_Encoding: chunked\r\n", b"Content-Length: 5\r\n", body=EMPTY),
        seen="POST /open/a 0",
    ),
    "named in Connection": passes(
        post(CHUNKED, b"Connection: Transfer-Encoding\r\n", body=b"1\r\nx\r\n" + EMPTY), seen="POST /open/a x"
    ),
    "named in Connection, a length": passes(
        post(b"Connection: Content-Length\r\n", b"Content-Length: 1\r\n", body=b"x"), seen="POST /open/a x"
    ),
}


def length(value: bytes) -> Case:
    return refused(post(b"Content-Length:" + value + b"\r\n", body=b"hello" + SMUGGLED))


LENGTHS = {
    "signed": length(b" +5"),
    "negative": length(b" -5"),
    "negative zero": length(b" -0"),
    "hex": length(b" 0x5"),
    "octal": length(b" 0o5"),
    "with an underscore": length(b" 0_5"),
    "a fraction": length(b" 5.0"),
    "with an exponent": length(b" 5e0"),
    "of words": length(b" five"),
    "empty": length(b""),
    "blank": length(b" "),
    "with a space inside": length(b" 5 5"),
    "a list of equals": length(b" 5, 5"),
    "a list of different ones": length(b" 5, 6"),
    "with a semicolon": length(b" 5;"),
    "in another script": length(" ５".encode()),
    "with a vertical tab": length(b" \x0b5"),
    "with a NUL": length(b" 5\0"),
    "above 64 bits": length(b" 18446744073709551621"),
    "above 63 bits": length(b" 9223372036854775813"),
    "of four hundred digits": length(b" " + b"9" * 400),
    "of five thousand digits": length(b" " + b"9" * 5000),
    "before a space before the colon": refused(post(b"Content-Length : 5\r\n", body=b"hello" + SMUGGLED)),
    "folded": refused(post(b"Content-Length:\r\n 5\r\n", body=b"hello" + SMUGGLED)),
    "twice the same": refused(post(b"Content-Length: 5\r\n" * 2, body=b"hello" + SMUGGLED)),
    "twice different": refused(post(b"Content-Length: 5\r\ncontent-length: 0\r\n", body=b"hello" + SMUGGLED)),
    "too short": Case(
        (post(b"Content-Length: 3\r\n", body=b"hello\r\n\r\n"),), (200, 400), ("POST /open/a hel",)
    ),
    "too long, and the end": Case((post(b"Content-Length: 9\r\n", body=b"hello"),), (), end=True),
    "beyond all limits": Case((post(b"Content-Length: 999999999999999999\r\n", body=b"x"),), (), end=True),
    # sound
    "with zeros in front": passes(
        post(b"Content-Length: 0005\r\n", body=b"hello"), seen="POST /open/a hello"
    ),
    "with blanks": passes(post(b"Content-Length:\t 5 \t\r\n", body=b"hello"), seen="POST /open/a hello"),
    "beside one with an underscore": passes(
        post(b"Content-Length: 5\r\nContent_Length: 3\r\n", body=b"hello"), seen="POST /open/a hello"
    ),
    "of nothing": passes(post(b"Content-Length: 0\r\n")),
    "of a GET": passes(
        post(b"Content-Length: 5\r\n", body=b"hello", line="GET /open/a HTTP/1.1"), seen="GET /open/a hello"
    ),
    "of a body that claims to be compressed": passes(
        post(b"Content-Encoding: gzip\r\nContent-Length: 5\r\n", body=b"hello"), seen="POST /open/a hello"
    ),
}


def chunks(data: bytes) -> Case:
    return refused(post(CHUNKED, body=data + SMUGGLED))


CHUNKS = {
    "negative": chunks(b"-1\r\n\r\n0\r\n\r\n"),
    "signed": chunks(b"+5\r\nhello\r\n0\r\n\r\n"),
    "prefixed": chunks(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "with an underscore": chunks(b"0_5\r\nhello\r\n0\r\n\r\n"),
    "with a space in front": chunks(b" 5\r\nhello\r\n0\r\n\r\n"),
    "with a space behind": chunks(b"5 \r\nhello\r\n0\r\n\r\n"),
    "with a tab behind": chunks(b"5\t\r\nhello\r\n0\r\n\r\n"),
    "without a size": chunks(b"\r\nhello\r\n0\r\n\r\n"),
    "with only an extension": chunks(b";a=b\r\nhello\r\n0\r\n\r\n"),
    "of no number": chunks(b"g\r\nhello\r\n0\r\n\r\n"),
    "above 64 bits": chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "of a hundred digits": chunks(b"f" * 100 + b"\r\nhello\r\n0\r\n\r\n"),
    "ended by LF": chunks(b"5\nhello\r\n0\r\n\r\n"),
    "ended by CR": chunks(b"5\rhello\r\n0\r\n\r\n"),
    "with data that end in LF": chunks(b"5\r\nhello\n0\r\n\r\n"),
    "with data that do not end": chunks(b"5\r\nhello0\r\n\r\n"),
    "longer than it says": chunks(b"5\r\nhelloworld\r\n0\r\n\r\n"),
    "shorter than it says": chunks(b"9\r\nhello\r\n0\r\n\r\n"),
    "with a LF in its extension": chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "with a CR in its extension": chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    "with a NUL in its extension": chunks(b"5;a\0b\r\nhello\r\n0\r\n\r\n"),
    "with a CR in the extension of the last": chunks(b"5\r\nhello\r\n0;a\rb\r\n\r\n"),
    "with a CR in a trailer": chunks(b"0\r\nA: b\rc\r\n\r\n"),
    "with a LF in a trailer": chunks(b"0\r\nA: b\nc\r\n\r\n"),
    "with a length in the trailers": chunks(b"0\r\nContent-Length: 5\r\n\r\n"),
    "with a coding in the trailers": chunks(b"0\r\ntransfer-encoding:chunked\r\n\r\n"),
    "with a trailer without a name": chunks(b"0\r\n: b\r\n\r\n"),
    "ended by LF, the last": chunks(b"0\n\n"),
    "with an extension that does not end": chunks(b"5;" + b"a" * 100_000),
    "with next to nothing in them": chunks(
        b"1;" + b"a" * 4000 + b"\r\nx\r\n" + (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 20
    ),
    "with a trailer that is none": chunks(b"0\r\nno trailer\r\n\r\n"),
    "with a folded trailer": chunks(b"0\r\nA: b\r\n c\r\n\r\n"),
    "with a NUL in a trailer": chunks(b"0\r\nA: b\0\r\n\r\n"),
    "with a space before a trailer's colon": chunks(b"0\r\nA : b\r\n\r\n"),
    "that come to no end": Case((post(CHUNKED, body=b"5\r\nhel"),), (), end=True),
    "without the last": Case((post(CHUNKED, body=b"5\r\nhello\r\n"),), (), end=True),
    "without the last line": Case((post(CHUNKED, body=b"5\r\nhello\r\n0\r\n"),), (), end=True),
    # the fault comes when the request is already on its way
    "faulty later on": refused(post(CHUNKED, body=b"5\r\nhello\r\n"), b"zz\r\n" + EMPTY + SMUGGLED),
    "without a size later on": refused(post(CHUNKED), b"\r\n" + EMPTY + SMUGGLED),
    "ended by LF later on": refused(post(CHUNKED, body=b"5\r\nhello"), b"\n0\r\n\r\n" + SMUGGLED),
    # sound
    "in upper case": passes(
        post(CHUNKED, body=b"A\r\nhelloworld\r\n" + EMPTY), seen="POST /open/a helloworld"
    ),
    "with an extension": passes(
        post(CHUNKED, body=b'5;a=b;c="d;e"\r\nhello\r\n0;z\r\n\r\n'), seen="POST /open/a hello"
    ),
    "with zeros in front": passes(
        post(CHUNKED, body=b"005\r\nhello\r\n000\r\n\r\n"), seen="POST /open/a hello"
    ),
    "with a trailer": passes(
        post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX-User-Id: admin\r\nHost: evil\r\n\r\n"),
        seen="POST /open/a hello",
    ),
    "with a trailer, and a request behind it": Case(
        (post(CHUNKED, body=b"5\r\nhello\r\n0;z\r\nX-User-Id: admin\r\n\r\n" + SMUGGLED),),
        (200, 200),
        ("POST /open/a hello", "GET /open/smuggled"),
        closes=False,
    ),
    "of one byte, 20,000 of them": passes(
        post(CHUNKED, body=b"1\r\nx\r\n" * 20_000 + EMPTY), seen="POST /open/a " + "x" * 20_000
    ),
}
_whole = post(CHUNKED, body=b"1\r\nx\r\n" + EMPTY)
CHUNKS["in pieces"] = passes(
    _whole[:20],
    _whole[20:-15],
    _whole[-15:-13],
    _whole[-13:-6],
    _whole[-6:-3],
    _whole[-3:],
    seen="POST /open/a x",
)
