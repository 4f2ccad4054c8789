"""What routes do to requests and answers, and services that are missing or late: both gateways do the same."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.fast_path.rig import Case, Pair, one, request
from tests.fast_path.service import Do

pytestmark = pytest.mark.asyncio(loop_scope="package")

QUERIES = (
    "",
    "?",
    "?a=b",
    "?a=b&a=c&debug=1",
    "?debug",
    "?a=%zz&b=%",
    "?a=%20+%2F",
    "?a=;b;c",
    "?a=[b]",
    "?{}|^`",
    "?a=\xe9",
    "?a=/../b",
    "?a=http://x/?y",
    "?a&&b==&=",
    "?a=" + "b" * 7000,
)
ROUTED = (
    "/edited/a/b",
    "/edited/a",
    "/edited/a/b/",
    "/preserved/open/a",
    "/hosted/shop/a",
    "/notfound/a",
    "/nocontent/a",
    "/redirect/a",
    "/location/a",
    "/secure/a",
    "/small/a",
    "/told/open/a",
    "/nobody/a",
    "/refusing/a",
    "/direct/a",
    "/x/open/a",
    "/shop/open/a",
    "/open/",
    "/open/a.b~c_d-e",
    "/open/a..b",
    "/open/...",
    "/open/.a",
    "/open/%61",
    "/open/a%20b",
)


@pytest.mark.parametrize("path", ROUTED)
async def test_features_of_routes(usual: Pair, ruled: Pair, path: str) -> None:
    headers = (b"X-Gone: 1\r\n", b"X-Set: 1\r\n", b"X-B: mine\r\n", b"Blue: moon\r\n", b"X-Red: green\r\n")
    for pair in (usual, ruled):
        await pair.compare_all([one(f"GET {path}{query}") for query in QUERIES])
        await pair.compare_all(
            [one(f"{method} {path}", *headers) for method in ("GET", "HEAD", "POST", "DELETE")]
        )
        await pair.compare_all([one(f"POST {path}", *headers, body=b"a" * size) for size in (5, 1024, 1025)])


@pytest.mark.parametrize(
    "path", ["/edited/a/scripted", "/notfound/scripted", "/nocontent/scripted", "/location/a"]
)
async def test_answers_that_routes_change(usual: Pair, ruled: Pair, path: str) -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\nX-Gone: 1\r\nX-Evil: 1\r\nX-Out: 0\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    )
    for pair in (usual, ruled):
        for answer in answers:
            pair.scripts |= {path: (answer,), "/open/scripted": (answer,)}
            await pair.compare_all([one(f"{method} {path}") for method in ("GET", "HEAD", "POST")])


async def test_a_large_header_of_a_route_with_a_limit(usual: Pair) -> None:
    await usual.compare_all([one("GET /short/a", b"X-A: " + b"b" * size + b"\r\n") for size in (1, 50)])


async def test_services_that_do_not_answer(usual: Pair) -> None:
    usual.scripts["/late/a"] = (Do.NEVER,)
    usual.scripts["/late/head"] = (b"HTTP/1.1 200 OK\r\n", Do.PAUSE, Do.NEVER)
    for method, path in (("GET", "/late/a"), ("GET", "/late/a"), ("POST", "/late/a"), ("GET", "/late/head")):
        await usual.compare(one("GET /open/before"))
        outcome = await usual.compare(one(f"{method} {path}"))
        assert outcome.got.startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("GET", (b"HTTP/1.1 503 Bad\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nbad",)),
        ("GET", (b"HTTP/1.1 503 Bad\r\n", Do.PAUSE, b"Content-Length: 3\r\n\r\nbad")),
        ("HEAD", (b"HTTP/1.1 429 Later\r\nContent-Length: 3\r\n\r\n",)),
        ("POST", (Do.END,)),
        ("PUT", (b"HTTP/1.1 503 Bad\r\nContent-Length: 3\r\n\r\nbad",)),
    ],
)
async def test_calls_that_are_repeated(usual: Pair, line: str, answer: tuple[bytes | Do, ...]) -> None:
    usual.scripts["/retried/a"] = answer
    await usual.compare(one("GET /open/before"))
    outcome = await usual.compare(one(f"{line} /retried/a", body=b"" if line in ("GET", "HEAD") else b"body"))
    assert len(outcome.seen) == (2 if line == "PUT" else 4), "with the last request of the comparison"


async def test_circuit_breakers_open_and_fall_back(usual: Pair) -> None:
    bad = (b"HTTP/1.1 503 Bad\r\nContent-Length: 3\r\n\r\nbad",)
    for path, expected in (("/guarded/a", b"CIRCUIT_OPEN"), ("/fixed/a", b"instead")):
        usual.scripts[path] = bad
        for method in ("GET", "POST", "GET", "GET"):
            await usual.compare(one("GET /open/before"))
            await usual.compare(one(f"{method} {path}", body=b"body" if method == "POST" else b""))
        outcome = await usual.compare(one(f"GET {path}"))
        assert outcome.got.count(expected) == 1
        assert len(outcome.seen) == 1, "the last request of the comparison"


async def test_limits_of_the_rate(usual: Pair) -> None:
    for key in (b"a", b"b"):
        outcome = await usual.compare(one("GET /limited/a", b"X-Key: " + key + b"\r\n"))
        assert b"X-RateLimit-Remaining: 0\r\n" in outcome.got
    assert b"RATE_LIMITED" in (await usual.compare(one("POST /limited/a", b"X-Key: a\r\n", body=b"x"))).got
    assert b"RATE_LIMIT_KEY_MISSING" in (await usual.compare(one("GET /limited/a"))).got


DESTINATIONS = (
    b"",
    b"Destination: /open/b\r\n",
    b"Destination: http://h/open/b\r\n",
    b"Destination: /api/v1/reservations\r\n",
    b"Destination: /tickets/vip\r\n",
    b"Destination: /private/b\r\n",
    b"Destination: /open/../b\r\n",
    b"Destination: /open/b\r\nDestination: /open/c\r\n",
)


@pytest.mark.parametrize("method", ["COPY", "MOVE", "PUT"])
@pytest.mark.parametrize("path", ["/open/a", "/api/v1/reservations"])
async def test_destinations(usual: Pair, path: str, method: str) -> None:
    for who in (b"", usual.bearer("nobody")):
        await usual.compare_all([one(f"{method} {path}", who, header) for header in DESTINATIONS])


@pytest.mark.parametrize("path", ["/open/a", "/private/a", "/api/v1/queue/status", "/nobody/a", "/nothing"])
async def test_versions_and_connections(usual: Pair, ruled: Pair, path: str) -> None:
    lines = [
        b"%b HTTP/%b\r\n%b%b\r\n" % (f"{method} {path}".encode(), version, host, connection)
        for method in ("GET", "HEAD", "POST")
        for version in (b"1.0", b"1.1")
        for host in (b"Host: h\r\n", b"Host: h:8080\r\n", b"Host: [::1]:80\r\n", b"Host: H.Example.\r\n", b"")
        for connection in (b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n")
    ]
    await usual.compare_all([Case((line,)) for line in lines])
    await ruled.compare_all([Case((line,)) for line in lines[:30:2]])


async def test_many_requests_on_one_connection(usual: Pair) -> None:
    who = usual.bearer("nobody")
    parts = (
        request("GET /open/a"),
        request("GET /private/a"),
        request("GET /private/a", who),
        request("POST /open/a", b"Content-Length: 5\r\n", body=b"hello"),
        request("POST /open/a", b"Transfer-Encoding: chunked\r\n", body=b"5\r\nhello\r\n0\r\n\r\n"),
        request("GET /api/v1/queue/status", who),
        request("OPTIONS /open/a"),
        request("GET /open/b"),
        request("GET /redirect/a"),
        request("GET /nobody/a"),
        request("GET /open/c"),
    )
    methods = tuple(part.split(b" ")[0] for part in parts)
    await usual.compare(Case(parts, answers=len(parts), methods=methods))
    await usual.compare(Case((b"".join(parts),), answers=len(parts), methods=methods))
    whole = b"".join(parts)
    for size in (1, 7, 100, 300):
        cuts = tuple(whole[at : at + size] for at in range(0, len(whole), size))
        await usual.compare(Case(cuts, answers=len(parts), methods=methods))
    for before, after in pairwise(parts):
        # The next request comes while the answer to this one is awaited.
        await usual.compare(
            Case(
                (before + after[:20], after[20:]),
                answers=2,
                methods=(before.split(b" ")[0], after.split(b" ")[0]),
            )
        )
