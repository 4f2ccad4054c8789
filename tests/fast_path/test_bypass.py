"""Callers who bypass the gate do so both ways, and services see the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fast_path.rig import Pair, one, paired
from tests.fast_path.routes import ROUTES
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")

RULES = """
  default:
    bypass:
      - {name: staff, claim: role, values: [staff]}
      - {name: probes, networks: [203.0.113.0/24]}
"""
CALLS = (
    "POST /api/v1/reservations",
    "POST /x/api/v1/reservations",
    "POST /x/api/v1/reservations?a=b",
    "GET /tickets/gated",
    "GET /tickets/a",
    "POST /tickets/vip",
    "GET /open/a",
    "POST /api/v1/queue/lineup?room=nowhere",
)


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def ruled(package_gateways: Gateways) -> AsyncIterator[Pair]:
    async with paired(
        package_gateways, ROUTES.replace("rooms:\n", f"rooms:{RULES}"), trusted_proxies="127.0.0.0/8"
    ) as pair:
        yield pair


@pytest.mark.parametrize("call", CALLS)
async def test_calls(ruled: Pair, call: str) -> None:
    probe, other = b"X-Forwarded-For: 203.0.113.7\r\n", b"X-Forwarded-For: 203.0.113.7, 192.0.2.1\r\n"
    callers = {
        "nobody": b"",
        "a probe": probe,
        "a forged probe": other,
        "a probe with a wrong token": probe + b"Authorization: Bearer garbage\r\n",
        "a probe with a token": probe + ruled.bearer("bob"),
        "staff": ruled.bearer("anna", role="staff"),
        "staff among others": ruled.bearer("anna", role=["guest", "staff"]),
        "a guest": ruled.bearer("bob", role="guest"),
        "a guest who claims": ruled.bearer("bob", role="guest") + b"role: staff\r\nX-Role: staff\r\n",
    }
    outcomes = await ruled.compare_all({name: one(call, header) for name, header in callers.items()})
    if "reservations" in call or "gated" in call:
        passing = {name for name, outcome in zip(callers, outcomes, strict=True) if len(outcome.seen) > 1}
        by_network = {"a probe", "a probe with a wrong token"} if " /x/" in call else set()
        assert passing == {"a probe with a token", "staff", "staff among others"} | by_network
    counts = [
        [line for line in side.exposition.splitlines() if line.startswith("gateway_room_bypassed_total")]
        for side in (ruled.fast, ruled.plain)
    ]
    assert counts[0] == counts[1]
