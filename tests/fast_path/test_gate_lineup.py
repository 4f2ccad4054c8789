"""Lineup at the gate: both gateways let in, line up and refuse the same."""

from __future__ import annotations

import re

import pytest

from gateway.context import ROOMS
from tests.fast_path.rig import one, paired
from tests.fast_path.routes import ROUTES
from tests.fast_path.test_visitors import NEW, SECRET, cookie
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")

CALLS = (
    "POST /api/v1/reservations",
    "GET /tickets/gated?invite=a&invite=%zz",
    "HEAD /tickets/gated",
    "GET /tickets/renews",
    "POST /tickets/vip",
    "GET /api/v1/queue/status",
)


async def test_users(package_gateways: Gateways) -> None:
    async with paired(package_gateways, ROUTES, queue_lineup="implicit", queue_max_waiting=2) as pair:
        for side in (pair.fast, pair.plain):
            side.random = re.compile(rb"(?<=\r\nRetry-After: )\d+")
        for user, status in (("ann", b"200"), ("bob", b"429"), ("cid", b"429"), ("dan", b"503")):
            for call in CALLS[:3]:
                outcome = await pair.compare(one(call, pair.bearer(user)))
                assert outcome.got[9:12] == status
            await pair.compare_all([one(call, pair.bearer(user)) for call in CALLS[3:]])
        for act in ("close", "sold_out", "reopen"):
            for side in (pair.fast, pair.plain):
                await side.gateway.app[ROOMS]["default"].operations.set_doors(act)  # type: ignore[arg-type]
            await pair.compare_all(
                [one(call, pair.bearer(user)) for user in ("ann", "bob", "new") for call in CALLS]
            )


@pytest.mark.parametrize("bound", ["", ", places_per_address: 1"])
async def test_visitors(package_gateways: Gateways, bound: str) -> None:
    rooms = f"rooms:\n  default: {{identity: either, lineup: implicit{bound}}}\n"
    settings = {"visitor_secrets": SECRET, "redis_timeout_seconds": "10"}
    async with paired(package_gateways, ROUTES.replace("rooms:\n", rooms), **settings) as pair:
        for side in (pair.fast, pair.plain):
            side.random = NEW
        ann, bob = (b"Cookie: " + cookie() + b"\r\n" for _ in range(2))
        own = b"Sec-Fetch-Site: same-origin\r\n"
        for caller in (
            (b"",),
            (ann,),
            (bob,),
            (pair.bearer("kim"), ann),
            (pair.bearer("kim"), bob),
            (ann,),
            (bob,),
        ):
            await pair.compare_all([one(call, own, *caller) for call in CALLS])
