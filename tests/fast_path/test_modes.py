"""Modes, bounds and doors of rooms: both gateways decide the same."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from gateway.context import ROOMS
from tests.fast_path.rig import Side, one, paired
from tests.fast_path.routes import ROUTES
from tests.support.gateway import Gateways
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

CALLS = (
    "POST /api/v1/queue/lineup",
    "GET /api/v1/queue/status",
    "POST /api/v1/reservations",
    "GET /tickets/gated",
    "HEAD /tickets/gated",
    "GET /tickets/renews",
)
USERS = ("inside", "behind", "nobody")


def would_refuse(side: Side) -> list[str]:
    return sorted(re.findall(r"gateway_room_would_refuse_total\{.*", side.exposition))


@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_modes(package_gateways: Gateways, mode: str) -> None:
    async with paired(package_gateways, ROUTES, queue_mode=mode) as pair:
        for side in (pair.fast, pair.plain):
            room = side.gateway.app[ROOMS]["default"]
            await eventually(lambda room=room: room.mode == mode and room.off is (mode == "off"))
        for user in USERS[:2]:
            await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer(user)))
        for call in CALLS[1:]:
            for user in USERS:
                outcome = await pair.compare(one(call, pair.bearer(user)))
                if "queue" not in call:
                    assert outcome.got[9:12] == b"200"
            assert (await pair.compare(one(call))).got[9:12] == b"401"
        assert would_refuse(pair.fast) == would_refuse(pair.plain)
        assert bool(would_refuse(pair.fast)) is (mode == "observe")


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="seconds")


@pytest.mark.parametrize("prequeue", ["", ", prequeue: {from: 2h}"])
async def test_opening_times(package_gateways: Gateways, prequeue: str) -> None:
    given = f"  default: {{opens_at: '{moment(3600)}'{prequeue}}}\n"
    assert ROUTES.count("\nrooms:\n") == 1
    routes = ROUTES.replace("\nrooms:\n", f"\nrooms:\n{given}")
    async with paired(package_gateways, routes) as pair:
        for side in (pair.fast, pair.plain):
            # The time to come back is drawn at random, and the rooms' Redis is another one.
            side.random = re.compile(rb"(?<=\r\nRetry-After: )\d+|(?<=\"serverTime\":)\d+")
        status, state = (b"200", b'"state":"REGISTERED"') if prequeue else (b"503", b'"code":"ROOM_CLOSED"')
        outcome = await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer("early")))
        assert outcome.got[9:12] == status
        assert state in outcome.got
        outcome = await pair.compare(one("GET /api/v1/queue/status", pair.bearer("early")))
        assert outcome.got[9:12] == (b"200" if prequeue else b"404")
        outcome = await pair.compare(one("POST /api/v1/reservations", pair.bearer("early")))
        assert outcome.got[9:12] == (b"429" if prequeue else b"403")


async def test_bounds(package_gateways: Gateways) -> None:
    bounds = {"queue_max_waiting": 1, "queue_lineups_per_minute": 2}
    async with paired(package_gateways, ROUTES, **bounds) as pair:
        for user, statuses in (("inside", ()), ("behind", ()), ("third", (b"503", b"503"))):
            got = []
            for side in (pair.fast, pair.plain):
                # The time to come back from a full room is drawn at random.
                side.random = re.compile(rb"(?<=\r\nRetry-After: )\d+")
            for _ in range(2):
                outcome = await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer(user)))
                got.append(outcome.got[9:12])
            assert tuple(got) == (statuses or (b"200", b"200"))
        outcome = await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer("behind")))
        assert outcome.got[9:12] == b"429"


async def test_doors(package_gateways: Gateways) -> None:
    async with paired(package_gateways, ROUTES) as pair:
        for user in USERS[:2]:
            await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer(user)))
        expected = {
            "close": (b"503", b"404", b"403"),
            "sold_out": (b"410",) * 3,
            "reopen": (b"200", b"200", b"429"),
        }
        for act, statuses in expected.items():
            for side in (pair.fast, pair.plain):
                side.random = re.compile(rb"(?<=\r\nRetry-After: )\d+")
                await side.gateway.app[ROOMS]["default"].operations.set_doors(act)  # type: ignore[arg-type]
            outcomes = await pair.compare_all([one(call, pair.bearer("new")) for call in CALLS[:3]])
            assert tuple(outcome.got[9:12] for outcome in outcomes) == statuses
            await pair.compare_all([one(call, pair.bearer(user)) for call in CALLS for user in USERS])
            await pair.compare(
                one("GET /api/v1/queue/stream", pair.bearer("inside"), b"Connection: close\r\n")
            )
