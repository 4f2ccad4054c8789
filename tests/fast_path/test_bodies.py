"""Methods, bodies and how they are cut: both gateways read the same, and pass the same on."""

from __future__ import annotations

import pytest

from tests.fast_path.rig import Case, Pair, one, request

pytestmark = pytest.mark.asyncio(loop_scope="package")

METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "PROPFIND",
    "COPY",
    "MOVE",
    "TRACE",
    "FOO",
)
SIZES = (0, 5, 65_535, 65_536, 65_537, 66_000, 66_001)
TARGETS = ("/open/a", "/private/a", "/api/v1/reservations", "/api/v1/queue/status", "/small/a", "/nothing")
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EXPECT = b"Expect: 100-continue\r\n"


def chunks(body: bytes, size: int = 16_000) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def forms(line: str, *headers: bytes) -> dict[str, Case]:
    """A request without a body, and with bodies of all sizes in all framings and cuts."""
    made = {"none": one(line, *headers)}
    for size in SIZES:
        body = b"a" * size
        length = b"Content-Length: %d\r\n" % size
        whole = request(line, *headers, length, body=body)
        head = len(whole) - size
        made[f"{size}"] = Case((whole,))
        made[f"{size} behind the head"] = Case((whole[:head], body))
        made[f"{size} cut in the head"] = Case((whole[:10], whole[10:]))
        made[f"{size} cut in the body"] = Case((whole[: head + size // 2], whole[head + size // 2 :]))
        made[f"{size} in chunks"] = Case((request(line, *headers, CHUNKED, body=chunks(body)),))
        made[f"{size} expecting"] = Case((request(line, *headers, EXPECT, length), body))
    made["expecting, in one write"] = one(line, *headers, EXPECT, body=b"hello")
    made["expecting something else"] = one(line, *headers, b"Expect: more\r\n", body=b"hello")
    made["incomplete"] = Case((request(line, *headers, b"Content-Length: 9\r\n", body=b"hello"),), end=True)
    made["a cut in the last line end"] = Case((request(line, *headers)[:-1], b"\n"))
    made["with a second one behind"] = Case((request(line, *headers) + request("GET /open/b"),), answers=2)
    made["with a body, and a second one behind"] = Case(
        (request(line, *headers, b"Content-Length: 5\r\n", body=b"hello" + request("GET /open/b")),),
        answers=2,
    )
    return made


@pytest.mark.parametrize("method", METHODS)
async def test_methods_with_bodies(usual: Pair, method: str) -> None:
    await usual.compare_all(forms(f"{method} /open/a"))
    await usual.compare(one(f"{method} /open/a", body=b"a" * 300_000))


@pytest.mark.parametrize("target", TARGETS)
async def test_bodies_with_a_limit(ruled: Pair, target: str) -> None:
    await ruled.compare_all(forms(f"POST {target}"))
    cases = forms(f"POST {target}", ruled.bearer("nobody"))
    if target.startswith("/api"):
        # Whether the connection stays open depends on what comes first: Redis' answer, or the rest of the body.
        cases = {name: case for name, case in cases.items() if len(case.sent) == 1}
    await ruled.compare_all(cases)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", METHODS)
async def test_methods_without_bodies(usual: Pair, ruled: Pair, method: str, target: str) -> None:
    for pair in (usual, ruled):
        headers = [b"", pair.bearer("nobody"), b"Connection: close\r\n", b"Content-Length: 0\r\n"]
        await pair.compare_all([one(f"{method} {target}", header) for header in headers])
