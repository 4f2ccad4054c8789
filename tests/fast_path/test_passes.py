"""Passes: both ways give the same ones to the same callers, and to services."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fast_path.rig import Pair, one, paired
from tests.fast_path.routes import ROUTES
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")

GATED = (
    "POST /api/v1/reservations",
    "POST /api/v1/reservation-seats/7",
    "POST /shop/reservations",
    "GET /tickets/gated",
    "GET /tickets/a",
    "HEAD /tickets/a",
    "POST /tickets/vip",
)
OTHERS = ("GET /open/a", "GET /private/a", "GET /nothing", "POST /api/v1/queue/leave?room=nowhere")
OWN = ("GET /api/v1/queue/status", "POST /api/v1/queue/lineup", "GET /api/v1/queue/status?room=vip")
FORGED = b"X-Queue-Pass: forged\r\nx_queue_pass: forged\r\n"
HTTPS = b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def passing(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """Gateways with passes. ``inside`` is allowed into both rooms, ``behind`` waits."""
    async with paired(package_gateways, ROUTES, trusted_proxies="127.0.0.0/8", **{"pass": "true"}) as pair:
        # Both have keys from now on.
        for side in (pair.fast, pair.plain):
            await side.gateway.keys_known()
        for user in ("inside", "behind"):
            await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer(user)))
        await pair.compare(one("POST /api/v1/queue/lineup?room=vip", pair.bearer("inside")))
        yield pair


@pytest.mark.parametrize("call", [*GATED, *OTHERS, *OWN])
async def test_calls(passing: Pair, call: str) -> None:
    callers = {
        "nobody": b"",
        "inside": passing.bearer("inside"),
        "behind": passing.bearer("behind"),
        "forging inside": passing.bearer("inside") + FORGED,
        "forging nobody": FORGED,
        "by https": passing.bearer("inside") + HTTPS,
    }
    outcomes = await passing.compare_all({name: one(call, header) for name, header in callers.items()})
    for name, outcome in zip(callers, outcomes, strict=True):
        given = call in (*GATED, *OWN) and name in ("inside", "forging inside", "by https")
        assert (b"\r\nSet-Cookie: queue-pass" in outcome.got) == given, name
        assert (b"; SameSite=Lax; Secure\r\n" in outcome.got) == (given and name == "by https")
        if outcome.seen and b"LAST" not in outcome.seen[0][0]:
            head = outcome.seen[0][0]
            assert b"forged" not in head
            assert (b"\r\nX-Queue-Pass: PASS\r\n" in head) == (given and call in GATED), name


@pytest.mark.parametrize(
    ("head", "stated"),
    [
        (b"", b"private"),
        (b"Cache-Control: public, max-age=60\r\n", b"private, max-age=60"),
        (b"cache-control: max-age=60\r\nCACHE-CONTROL: public\r\n", b"private, max-age=60"),
        (b"Cache-Control: Private, max-age=60\r\n", b"Private, max-age=60"),
        (b"Cache-Control: no-store\r\n", b"no-store"),
        (b"Set-Cookie: queue-pass=own\r\nSet-Cookie: a=b\r\n", b"private"),
    ],
)
async def test_an_answer_with_a_pass_is_not_for_shared_caches(
    passing: Pair, head: bytes, stated: bytes
) -> None:
    passing.scripts["/tickets/gated"] = (b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 2\r\n\r\nok",)
    try:
        outcome = await passing.compare(one("GET /tickets/gated", passing.bearer("inside")))
    finally:
        del passing.scripts["/tickets/gated"]
    answer = outcome.got.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert b"\r\nCache-Control: " + stated + b"\r\n" in answer
    assert answer.lower().count(b"cache-control:") == 1
    assert b"\r\nSet-Cookie: queue-pass=PASS; Path=/;" in answer


async def test_the_answer_of_a_gateway_behind_the_gate(passing: Pair) -> None:
    passing.scripts["/tickets/gated"] = (b"no HTTP at all\r\n\r\n",)
    try:
        outcome = await passing.compare(one("GET /tickets/gated", passing.bearer("inside")))
    finally:
        del passing.scripts["/tickets/gated"]
    assert outcome.got.startswith(b"HTTP/1.1 502 ")
    assert b"\r\nSet-Cookie: queue-pass=PASS; Path=/;" in outcome.got
