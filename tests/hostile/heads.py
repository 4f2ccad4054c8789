"""Request lines, hosts, headers, sizes and what comes behind one another: what is sent, and what must happen."""

from __future__ import annotations

from tests.hostile.requests import CHUNKED, EMPTY, SMUGGLED, Case, passes, refused
from tests.hostile.rig import request


def line(text: str | bytes) -> Case:
    return refused(request(text) + SMUGGLED)


def denied(status: int, *sent: bytes) -> Case:
    """A request that can be read, and is refused for what it asks."""
    return Case(sent, (status,), closes=None)


def get(*headers: bytes, host: bytes = b"Host: h\r\n", target: str = "/open/a") -> bytes:
    return request(f"GET {target} HTTP/1.1", *headers, host=host)


SECOND = get(target="/open/second")
GATED = request("POST /api/v1/reservations HTTP/1.1", b"Content-Length: 0\r\n")
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: h2c\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


LINES = {
    "HTTP/0.9": refused(b"GET /open/a\r\n\r\n"),
    "HTTP/0.9 with headers": refused(b"GET /open/a\r\nHost: h\r\n\r\n"),
    "HTTP/0.9 by number": line("GET /open/a HTTP/0.9"),
    "HTTP/1.2": line("GET /open/a HTTP/1.2"),
    "HTTP/1.9": line("GET /open/a HTTP/1.9"),
    "HTTP/2.0": line("GET /open/a HTTP/2.0"),
    "the preface of HTTP/2": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "the preface of HTTP/2, and a frame": refused(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", SMUGGLED
    ),
    "HTTP/1": line("GET /open/a HTTP/1"),
    "HTTP/1.": line("GET /open/a HTTP/1."),
    "HTTP/01.1": line("GET /open/a HTTP/01.1"),
    "HTTP/1.10": line("GET /open/a HTTP/1.10"),
    "HTTP/1.1 and a space": line("GET /open/a HTTP/1.1 "),
    "HTTP/1.1 and a word": line("GET /open/a HTTP/1.1 x"),
    "HTTP in lower case": line("GET /open/a http/1.1"),
    "another protocol": line("GET /open/a RTSP/1.0"),
    "HTTPS": line("GET /open/a HTTPS/1.1"),
    "two spaces before the target": line("GET  /open/a HTTP/1.1"),
    "two spaces behind the target": line("GET /open/a  HTTP/1.1"),
    "a tab before the target": line("GET\t/open/a HTTP/1.1"),
    "a tab behind the target": line("GET /open/a\tHTTP/1.1"),
    "a space inside the target": line("GET /open/a b HTTP/1.1"),
    "no target": line("GET HTTP/1.1"),
    "an empty target": line("GET  HTTP/1.1"),
    "a bare LF behind it": refused(b"GET /open/a HTTP/1.1\nHost: h\r\n\r\n" + SMUGGLED),
    "a bare CR behind it": refused(b"GET /open/a HTTP/1.1\rHost: h\r\n\r\n" + SMUGGLED),
    "a CR inside it": line("GET /open/a\rb HTTP/1.1"),
    "a NUL inside it": line("GET /open/a\0b HTTP/1.1"),
    "a space in front of it": line(" GET /open/a HTTP/1.1"),
    "empty lines in front of it": refused(b"\r\n\r\n" + SMUGGLED),
    "a method in lower case": line("get /open/a HTTP/1.1"),
    "a method in mixed case": line("Get /open/a HTTP/1.1"),
    "a method with a colon": line("G:T /open/a HTTP/1.1"),
    "a method with a slash": line("G/T /open/a HTTP/1.1"),
    "a method with a NUL": line("G\0T /open/a HTTP/1.1"),
    "a method with brackets": line("G(E)T /open/a HTTP/1.1"),
    "a method beyond ASCII": line("GÉT /open/a HTTP/1.1"),
    "a method that folds to another": line("OPTION\u017f /open/a HTTP/1.1".encode()),
    "no method": line(" /open/a HTTP/1.1"),
    "TLS": refused(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n"),
    "an answer": refused(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "CONNECT to a host": refused(request("CONNECT h:443 HTTP/1.1") + SMUGGLED),
    "CONNECT to a path": refused(request("CONNECT /open/a HTTP/1.1") + SMUGGLED),
    "CONNECT with a body": refused(request("CONNECT h:443 HTTP/1.1", CHUNKED, body=EMPTY) + SMUGGLED),
    # what can be read
    "TRACE": denied(405, request("TRACE /open/a HTTP/1.1", b"Cookie: a=b\r\n")),
    "TRACE with a body": denied(405, request("TRACE /open/a HTTP/1.1", b"Content-Length: 1\r\n", body=b"x")),
    "TRACK": denied(405, request("TRACK /open/a HTTP/1.1", b"Cookie: a=b\r\n")),
    "CONNECT in pieces": refused(b"CONN", b"ECT /open/a HTTP/1.1\r\nHost: h\r\n\r\n", SMUGGLED),
    "CONNECT to bytes": refused(request(b"CONNECT /open/\xff HTTP/1.1") + SMUGGLED),
    "HTTP/2's method in HTTP/1.1": refused(request("PRI /open/a HTTP/1.1") + SMUGGLED),
    "HTTP/2's method of everything": refused(request("PRI * HTTP/1.1") + SMUGGLED),
    "a method that is too long": refused(request("A" * 65 + " /open/a HTTP/1.1") + SMUGGLED),
    "a new method in lower case": line("propfind /open/a HTTP/1.1"),
    "a new method in mixed case": line("PropFind /open/a HTTP/1.1"),
    "a new method of everything": line("FOO * HTTP/1.1"),
    "a new method with two lengths": refused(
        request("FOO /open/a HTTP/1.1", b"Content-Length: 0\r\n", CHUNKED, body=EMPTY + SMUGGLED)
    ),
    "a new method and garbage": line(b"FOO /open/a\0 HTTP/1.1"),
    "PROPFIND": passes(request("PROPFIND /open/a HTTP/1.1", b"Depth: 1\r\n"), seen="PROPFIND /open/a"),
    "PURGE": passes(request("PURGE /open/a HTTP/1.1"), seen="PURGE /open/a"),
    "M-SEARCH": passes(request("M-SEARCH /open/a HTTP/1.1"), seen="M-SEARCH /open/a"),
    "a method nobody knows": passes(request("FOO /open/a HTTP/1.1"), seen="FOO /open/a"),
    "a method of one letter": passes(request("A /open/a HTTP/1.1"), seen="A /open/a"),
    "a method of odd letters": passes(
        request("!#$%&'*+.^_`|~-9 /open/a HTTP/1.1"), seen="!#$%&'*+.^_`|~-9 /open/a"
    ),
    "a method of RTSP": passes(request("DESCRIBE /open/a HTTP/1.1"), seen="DESCRIBE /open/a"),
    "a new method in pieces": passes(
        b"VERSION",
        b"-CONTROL /op",
        b"en/a HTTP/1.1\r",
        b"\nHost: h\r\n",
        b"\r\n",
        seen="VERSION-CONTROL /open/a",
    ),
    "a new method behind an empty line": passes(b"\r\n", request("BAN /open/a HTTP/1.1"), seen="BAN /open/a"),
    "PROPFIND with a body": passes(
        request("PROPFIND /open/a HTTP/1.1", b"Content-Length: 6\r\n", body=b"<all/>"),
        seen="PROPFIND /open/a <all/>",
    ),
    "a method nobody knows with chunks": passes(
        request("FOO /open/a HTTP/1.1", CHUNKED, body=b"5\r\nhello\r\n" + EMPTY), seen="FOO /open/a hello"
    ),
    "a method nobody knows, and an upgrade": Case(
        (request("FOO /open/a HTTP/1.1", WEBSOCKET) + GATED + SECOND,),
        (200, 401, 200),
        ("FOO /open/a", "GET /open/second"),
        closes=False,
    ),
    "new methods behind one another": Case(
        (
            request("FOO /open/a HTTP/1.1")
            + request("REPORT /open/b HTTP/1.1", b"Content-Length: 1\r\n", body=b"x")
            + request("BAR /open/c HTTP/1.1", CHUNKED, body=b"1\r\ny\r\n" + EMPTY)
            + get(target="/open/d"),
        ),
        (200, 200, 200, 200),
        ("FOO /open/a", "REPORT /open/b x", "BAR /open/c y", "GET /open/d"),
        closes=False,
    ),
    "OPTIONS of everything": denied(400, request("OPTIONS * HTTP/1.1")),
    "GET of everything": line("GET * HTTP/1.1"),
    "an empty line in front of it": passes(b"\r\n" + get(), seen="GET /open/a"),
}

HOSTS = {
    "missing": refused(get(host=b"") + SMUGGLED),
    "missing, with another header of that name": refused(get(host=b"X-Host: h\r\n") + SMUGGLED),
    "twice in HTTP/1.0": refused(b"GET /open/a HTTP/1.0\r\nHost: h\r\nHost: evil\r\n\r\n"),
    "empty in HTTP/1.0": Case((b"GET /open/a HTTP/1.0\r\nHost:\r\n\r\n",), (200,), ("GET /open/a",)),
    "empty, and another one": refused(get(host=b"Host:\r\nHost: evil\r\n") + SMUGGLED),
    "empty, and a target with one": denied(400, get(host=b"Host:\r\n", target="http://h/open/a")),
    "missing in HTTP/1.0": Case((b"GET /open/a HTTP/1.0\r\n\r\n" + SMUGGLED,), (200,), ("GET /open/a",)),
    "missing in HTTP/1.0, named by the target": Case(
        (b"GET http://h:80/open/a HTTP/1.0\r\n\r\n" + SMUGGLED,), (200,), ("GET /open/a",)
    ),
    "twice": refused(get(host=b"Host: h\r\nHost: evil\r\n") + SMUGGLED),
    "twice the same": refused(get(host=b"Host: h\r\nhost: h\r\n") + SMUGGLED),
    "empty": passes(get(host=b"Host:\r\n"), seen="GET /open/a"),
    "empty but for blanks": passes(get(host=b"Host: \t \r\n"), seen="GET /open/a"),
    "with an empty port": refused(get(host=b"Host: h:\r\n") + SMUGGLED),
    "a list": refused(get(host=b"Host: h, evil\r\n") + SMUGGLED),
    "with a space": refused(get(host=b"Host: h evil\r\n") + SMUGGLED),
    "with a tab": refused(get(host=b"Host: h\tevil\r\n") + SMUGGLED),
    "with a user": refused(get(host=b"Host: u@h\r\n") + SMUGGLED),
    "with a path": refused(get(host=b"Host: h/open\r\n") + SMUGGLED),
    "with a question mark": refused(get(host=b"Host: h?x\r\n") + SMUGGLED),
    "with a fragment": refused(get(host=b"Host: h#x\r\n") + SMUGGLED),
    "with a backslash": refused(get(host=b"Host: h\\x\r\n") + SMUGGLED),
    "with two ports": refused(get(host=b"Host: h:80:80\r\n") + SMUGGLED),
    "with a port of words": refused(get(host=b"Host: h:http\r\n") + SMUGGLED),
    "with a port too long": refused(get(host=b"Host: h:800000\r\n") + SMUGGLED),
    "with half a bracket": refused(get(host=b"Host: [::1\r\n") + SMUGGLED),
    "with a quote": refused(get(host=b'Host: h"x\r\n') + SMUGGLED),
    "with a script": refused(get(host=b"Host: <script>\r\n") + SMUGGLED),
    "with a NUL": refused(get(host=b"Host: h\0x\r\n") + SMUGGLED),
    "beyond ASCII": refused(get(host="Host: ｈ\r\n".encode()) + SMUGGLED),
    "a URL": refused(get(host=b"Host: http://h\r\n") + SMUGGLED),
    "folded": refused(get(host=b"Host:\r\n h\r\n") + SMUGGLED),
    "a space before the colon": refused(get(host=b"Host : h\r\n") + SMUGGLED),
    "spelled with a dot behind": passes(get(host=b"Host: h.\r\n"), seen="GET /open/a"),
    "an IPv6 address": passes(get(host=b"Host: [::1]:80\r\n"), seen="GET /open/a"),
}

TARGETS = {
    "absolute": passes(get(target="http://h/open/a"), seen="GET /open/a"),
    "absolute, with the port": passes(get(target="http://h:80/open/a"), seen="GET /open/a"),
    "absolute, another host": denied(400, get(target="http://evil/open/a")),
    "absolute, another port": denied(400, get(target="http://h:81/open/a")),
    "absolute, with a user": denied(400, get(target="http://u@h/open/a")),
    "absolute, with user and password": denied(400, get(target="http://h:p@evil/open/a")),
    "absolute, with an empty user": denied(400, get(target="http://@h/open/a")),
    "absolute, with a backslash": denied(400, get(target="http://h\\@evil/open/a")),
    "absolute, another scheme": denied(400, get(target="ftp://h/open/a")),
    "absolute, a file": refused(get(target="file:///etc/passwd")),
    "absolute without a host": refused(get(target="http:///open/a")),
    "absolute without slashes": refused(get(target="http:/open/a")),
    "two slashes": denied(400, get(target="//evil/open/a")),
    "two slashes further on": denied(400, get(target="/open//a")),
    "three slashes": denied(400, get(target="///open/a")),
    "no slash": refused(get(target="open/a")),
    "a query alone": refused(get(target="?x")),
    "a fragment": denied(400, get(target="/open/a#b")),
    "a backslash": denied(400, get(target="/open\\a")),
    "an encoded slash": denied(400, get(target="/open%2fa")),
    "an encoded backslash": denied(400, get(target="/open%5ca")),
    "a dot segment": denied(400, get(target="/open/./a")),
    "two dots": denied(400, get(target="/open/../api/v1/reservations")),
    "encoded dots": denied(400, get(target="/open/%2e%2e/api/v1/reservations")),
    "half encoded dots": denied(400, get(target="/open/.%2e/api/v1/reservations")),
    "dots encoded twice": denied(400, get(target="/open/%252e%252e/api/v1/reservations")),
    "dots with parameters": denied(400, get(target="/open/..;/api/v1/reservations")),
    "parameters": denied(400, get(target="/open/a;b=c")),
    "encoded parameters behind dots": denied(400, get(target="/open/..%3bx/a")),
    "overlong slashes": denied(400, get(target="/open/%c0%afa")),
    "overlong dots": denied(400, get(target="/open/%c0%ae%c0%ae/a")),
    "a full-width slash": denied(400, get(target="/open/%ef%bc%8fa")),
    "full-width dots": denied(400, get(target="/open/%ef%bc%8e%ef%bc%8e/a")),
    "an encoded NUL": denied(400, get(target="/open/a%00")),
    "an encoded line break": denied(400, get(target="/open/a%0d%0aX-User-Id:%20admin")),
    "half an escape": denied(400, get(target="/open/a%2")),
    "an escape of no number": denied(400, get(target="/open/a%zz")),
    "an escape of UTF-16": denied(400, get(target="/open/a%u002f")),
    "not UTF-8": denied(400, get(target="/open/a%ff")),
    "bytes beyond ASCII": denied(400, request("GET /open/é HTTP/1.1".encode())),
    "brackets": denied(400, get(target="/open/{a}")),
    "what browsers send raw in a path": passes(
        get(target="/open/a|b[1]^?c|d"), seen="GET /open/a%7Cb%5B1%5D%5E?c|d"
    ),
    "an angle bracket": denied(400, get(target="/open/<a>")),
    "a backtick": denied(400, get(target="/open/`a`")),
    "a quote": denied(400, get(target='/open/"a"')),
    "raw dots behind a bar": denied(400, get(target="/open/|/../api/v1/reservations")),
    "a query with a blank": line("GET /open/a?b c HTTP/1.1"),
    "a query with a tab": line("GET /open/a?b\tc HTTP/1.1"),
    "a query with a control character": line(b"GET /open/a?b\x01c HTTP/1.1"),
    "a query with a NUL": line(b"GET /open/a?b\0c HTTP/1.1"),
    "a query with a DEL": line(b"GET /open/a?b\x7fc HTTP/1.1"),
    "a query with a CR": line(b"GET /open/a?b\rc HTTP/1.1"),
    "a query with a fragment": denied(400, get(target="/open/a?b#c")),
    "an empty query": passes(get(target="/open/a?"), seen="GET /open/a?"),
    "a query of odd characters": passes(
        get(target="/open/a?{}|^[]\\`\"<>'&b=%&c=%z&%zz"), seen="GET /open/a?{}|^[]\\`\"<>'&b=%&c=%z&%zz"
    ),
    "an encoded line break in the query": passes(
        get(target="/open/a?b=%0d%0aX-User-Id:%20admin%00"), seen="GET /open/a?b=%0d%0aX-User-Id:%20admin%00"
    ),
    "a query of bytes": passes(
        request(b"GET /open/a?b=\x85\xa0\xe9\xff HTTP/1.1"), seen="GET /open/a?b=\x85\xa0\xe9\xff"
    ),
    "a query of UTF-8": passes(
        request("GET /open/a?b=é예 HTTP/1.1".encode()), seen="GET /open/a?b=é예".encode().decode("latin-1")
    ),
    "the bytes as they were": passes(get(target="/open/%61%7e?b=%20+%2F"), seen="GET /open/%61%7e?b=%20+%2F"),
}

HEADERS = {
    "without a colon": refused(get(b"nothing\r\n") + SMUGGLED),
    "without a name": refused(get(b": a\r\n") + SMUGGLED),
    "with a space in the name": refused(get(b"A B: c\r\n") + SMUGGLED),
    "with a space behind the name": refused(get(b"A : c\r\n") + SMUGGLED),
    "with a tab behind the name": refused(get(b"A\t: c\r\n") + SMUGGLED),
    "with a space before the name": refused(get(b"A: b\r\n C: d\r\n") + SMUGGLED),
    "with a NUL in the name": refused(get(b"A\0: c\r\n") + SMUGGLED),
    "with a control in the name": refused(get(b"A\x01: c\r\n") + SMUGGLED),
    "with a DEL in the name": refused(get(b"A\x7f: c\r\n") + SMUGGLED),
    "with a bracket in the name": refused(get(b"A(b): c\r\n") + SMUGGLED),
    "with a name beyond ASCII": refused(get("É: c\r\n".encode()) + SMUGGLED),
    "with a NUL in the value": refused(get(b"A: b\0c\r\n") + SMUGGLED),
    "with a control in the value": refused(get(b"A: b\x01c\r\n") + SMUGGLED),
    "with an escape in the value": refused(get(b"A: b\x1b[2J\r\n") + SMUGGLED),
    "with a DEL in the value": refused(get(b"A: b\x7fc\r\n") + SMUGGLED),
    "with a bare CR in the value": refused(get(b"A: b\rc: d\r\n") + SMUGGLED),
    "with a bare LF in the value": refused(get(b"A: b\nc: d\r\n") + SMUGGLED),
    "folded": refused(get(b"A: b\r\n c\r\n") + SMUGGLED),
    "ended by a bare LF": refused(b"GET /open/a HTTP/1.1\r\nHost: h\r\n\n" + SMUGGLED),
    "ended by a bare CR": refused(b"GET /open/a HTTP/1.1\r\nHost: h\r\n\r" + SMUGGLED),
    "all ended by bare LF": refused(b"GET /open/a HTTP/1.1\nHost: h\n\n" + SMUGGLED),
    "with a tab in the value": passes(get(b"A: b\tc\r\n"), seen="GET /open/a"),
    "with bytes beyond ASCII in the value": passes(get(b"A: \xff\xe9\r\n"), seen="GET /open/a"),
    "of the old WebSocket": refused(get(b"Sec-WebSocket-Key1: a\r\n") + SMUGGLED),
}

SIZES = {
    "a path": refused(get(target="/open/" + "a" * 9000)),
    "a path without end": refused(b"GET /" + b"a" * 100_000),
    "a query": refused(get(target="/open/a?" + "b" * 9000)),
    "a method": refused(request("G" * 9000 + " /open/a HTTP/1.1")),
    "a method without end": refused(b"G" * 100_000),
    "a version": refused(request("GET /open/a HTTP/1." + "1" * 9000)),
    "a header's value": refused(get(b"A: " + b"b" * 9000 + b"\r\n")),
    "a header's value without end": refused(b"GET /open/a HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 100_000),
    "a header's name": refused(get(b"a" * 9000 + b": b\r\n")),
    "blanks before a value": refused(get(b"A:" + b" " * 100_000 + b"b\r\n")),
    "the number of headers": refused(get(*(b"A%d: b\r\n" % number for number in range(200)))),
    "the number of headers without end": refused(
        b"GET /open/a HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 20_000
    ),
    "all headers": refused(get(*(b"A%d: %b\r\n" % (number, b"b" * 900) for number in range(80)))),
    "a cookie": refused(get(b"Cookie: a=" + b"b" * 20_000 + b"\r\n")),
    "empty lines": refused(b"\r\n" * 50_000),
    "trailers": refused(
        request("POST /open/a HTTP/1.1", CHUNKED, body=b"0\r\n" + b"A: b\r\n" * 20_000 + b"\r\n") + SMUGGLED
    ),
    "a trailer": refused(
        request("POST /open/a HTTP/1.1", CHUNKED, body=b"0\r\nA: " + b"b" * 9000 + b"\r\n\r\n") + SMUGGLED
    ),
    "a chunk's size": refused(
        request("POST /open/a HTTP/1.1", CHUNKED, body=b"0" * 90_000 + b"5\r\nhello\r\n" + EMPTY) + SMUGGLED
    ),
    # what a good client may have
    "seventy headers": passes(get(*(b"A%d: b\r\n" % number for number in range(70))), seen="GET /open/a"),
    "a header of 8000 bytes": passes(get(b"A: " + b"b" * 8000 + b"\r\n"), seen="GET /open/a"),
}

BOTH = ("GET /open/a", "GET /open/second")

PIPELINES = {
    "two": Case((get() + SECOND,), (200, 200), BOTH, closes=False),
    "twenty": Case(
        (b"".join(get(target=f"/open/{number}") for number in range(20)),),
        (200,) * 20,
        tuple(f"GET /open/{number}" for number in range(20)),
        closes=False,
    ),
    "two hundred": Case(
        (b"".join(get(target=f"/open/{number}") for number in range(200)),),
        (200,) * 200,
        tuple(f"GET /open/{number}" for number in range(200)),
        closes=False,
    ),
    "cut within the first": Case((get()[:9], get()[9:] + SECOND), (200, 200), BOTH, closes=False),
    "cut within the end of the first": Case((get()[:-1], b"\n" + SECOND), (200, 200), BOTH, closes=False),
    "cut within the end of the first, twice": Case(
        (get()[:-3], b"\n", b"\r\n" + SECOND), (200, 200), BOTH, closes=False
    ),
    "cut within the second": Case((get() + SECOND[:30], SECOND[30:]), (200, 200), BOTH, closes=False),
    "bodies and none": Case(
        (
            request("POST /open/a HTTP/1.1", b"Content-Length: 3\r\n", body=b"abc")
            + request("POST /open/b HTTP/1.1", CHUNKED, body=b"3\r\nabc\r\n" + EMPTY)
            + SECOND,
        ),
        (200, 200, 200),
        ("POST /open/a abc", "POST /open/b abc", "GET /open/second"),
        closes=False,
    ),
    "a body that looks like requests": Case(
        (
            request(
                "POST /open/a HTTP/1.1", b"Content-Length: %d\r\n" % (2 * len(SMUGGLED)), body=SMUGGLED * 2
            )
            + SECOND,
        ),
        (200, 200),
        ("POST /open/a " + (SMUGGLED * 2).decode().rstrip(), "GET /open/second"),
        closes=False,
    ),
    "a chunk that looks like requests": Case(
        (
            request(
                "POST /open/a HTTP/1.1",
                CHUNKED,
                body=b"%x\r\n%b\r\n" % (len(SMUGGLED) * 100, SMUGGLED * 100) + EMPTY,
            )
            + SECOND,
        ),
        (200, 200),
        ("POST /open/a " + (SMUGGLED * 100).decode().rstrip(), "GET /open/second"),
        closes=False,
    ),
    "garbage behind one": Case((get() + b"garbage\r\n\r\n" + SECOND,), (200, 400), BOTH[:1]),
    "garbage behind two": Case((get() + SECOND + b"\0\0\r\n\r\n" + SECOND,), (200, 200, 400), BOTH),
    "garbage behind a body": Case(
        (request("POST /open/a HTTP/1.1", CHUNKED, body=b"1\r\nx\r\n" + EMPTY) + SECOND + b"\0\r\n\r\n",),
        (200, 200, 400),
        ("POST /open/a x", "GET /open/second"),
    ),
    "a broken body behind one": Case(
        (get() + request("POST /open/b HTTP/1.1", CHUNKED, body=b"zz\r\n" + EMPTY) + SECOND,),
        (200, 400),
        BOTH[:1],
    ),
    "two lengths behind one": Case(
        (get() + request("POST /open/b HTTP/1.1", b"Content-Length: 1\r\n", CHUNKED, body=EMPTY) + SECOND,),
        (200, 400),
        BOTH[:1],
    ),
    "a gated one behind a public one": Case((get() + GATED + SECOND,), (200, 401, 200), BOTH, closes=False),
    "a gated one in a public one's body": Case(
        (request("POST /open/a HTTP/1.1", b"Content-Length: 0\r\n") + GATED,),
        (200, 401),
        ("POST /open/a",),
        closes=False,
    ),
    "something behind the last": Case((get(b"Connection: close\r\n") + SECOND,), (200,), BOTH[:1]),
    "something behind HTTP/1.0": Case(
        (b"GET /open/a HTTP/1.0\r\nHost: h\r\n\r\n" + SECOND,), (200,), BOTH[:1]
    ),
    "behind h2c": Case((get(UPGRADE) + SECOND,), (200, 200), BOTH, closes=False),
    "behind h2c, in another write": Case((get(UPGRADE), SECOND), (200, 200), BOTH, closes=False),
    "behind h2c, a gated one": Case((get(UPGRADE) + GATED + SECOND,), (200, 401, 200), BOTH, closes=False),
    "behind h2c, a frame": Case((get(UPGRADE) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), (200, 400), BOTH[:1]),
    "behind h2c with a body": Case(
        (request("POST /open/a HTTP/1.1", UPGRADE, b"Content-Length: 1\r\n", body=b"x") + SECOND,),
        (200, 200),
        ("POST /open/a x", "GET /open/second"),
        closes=False,
    ),
    "behind h2c with chunks": Case(
        (request("POST /open/a HTTP/1.1", UPGRADE, CHUNKED, body=b"1\r\nx\r\n" + EMPTY) + SECOND,),
        (200, 200),
        ("POST /open/a x", "GET /open/second"),
        closes=False,
    ),
    "behind h2c with chunks like ends": Case(
        (
            request(
                "POST /open/a HTTP/1.1",
                UPGRADE,
                CHUNKED,
                body=b"320\r\n" + b"\r\n\r\n" * 200 + b"\r\n" + EMPTY,
            )
            + SECOND,
        ),
        (200, 200),
        ("POST /open/a", "GET /open/second"),
        closes=False,
    ),
    "behind a WebSocket nobody wanted, a gated one": Case(
        (get(WEBSOCKET) + GATED + SECOND,), (200, 401, 200), BOTH, closes=False
    ),
    "behind a WebSocket without a body nobody wanted, a gated one": Case(
        (get(WEBSOCKET, b"Content-Length: 0\r\n") + GATED + SECOND,), (200, 401, 200), BOTH, closes=False
    ),
    "behind a WebSocket with a body, a gated one": Case(
        (request("GET /open/a HTTP/1.1", WEBSOCKET, b"Content-Length: 1\r\n", body=b"x") + GATED + SECOND,),
        (200, 401, 200),
        ("GET /open/a x", "GET /open/second"),
        closes=False,
    ),
    "behind a WebSocket nobody wanted, garbage": Case(
        (get(WEBSOCKET) + b"\x81\x85\0\0\0\0hello\r\n\r\n",), (200, 400), BOTH[:1]
    ),
    "behind a WebSocket of an own call": Case(
        (get(WEBSOCKET, target="/api/v1/queue/status") + GATED,), (401, 401), (), closes=False
    ),
    "behind an upgrade to TLS": Case(
        (get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n") + SECOND,), (200, 200), BOTH, closes=False
    ),
    "behind an upgrade to TCP": Case(
        (get(b"Connection: Upgrade\r\nUpgrade: tcp\r\n") + GATED,), (200, 401), BOTH[:1], closes=False
    ),
}
