"""Lineups into rooms for some users alone: both ways admit and refuse the same."""

from __future__ import annotations

import pytest

from gateway.auth.invitations import Invitations
from tests.fast_path.rig import one, paired
from tests.fast_path.routes import ROUTES
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")

SECRET = "a-secret-of-the-tests"
RULES = "\n  presale: {capacity: 2, eligible: {claim: presale, values: [gold]}}\n"
END = 4_102_444_800_000


async def test_lineups(package_gateways: Gateways) -> None:
    routes = ROUTES.replace("rooms:\n", f"rooms:{RULES}")
    invitations = Invitations((SECRET,))
    two = invitations.make("presale", expires_at=END, uses=2)
    personal = invitations.make("presale", expires_at=END, user="dan")
    elsewhere = invitations.make("vip", expires_at=END, uses=9)
    call = "POST /api/v1/queue/lineup?room=presale"
    async with paired(package_gateways, routes, invite_secrets=SECRET) as pair:
        answers = {
            "nobody": (one(call), 401),
            "without": (one(call, pair.bearer("ann")), 403),
            "by claim": (one(call, pair.bearer("ann", presale=["gold"])), 200),
            "again": (one(call, pair.bearer("ann")), 200),
            "of another room": (one(f"{call}&invite={elsewhere}", pair.bearer("bob")), 403),
            "of another user": (one(f"{call}&invite={personal}", pair.bearer("bob")), 403),
            "one of two": (one(f"{call}&invite={two}", pair.bearer("bob")), 200),
            "two of two": (one(f"{call}&invite={two}", pair.bearer("cid")), 200),
            "three of two": (one(f"{call}&invite={two}", pair.bearer("eve")), 403),
            "for the user": (one(f"{call}&invite={personal}", pair.bearer("dan")), 200),
            "twice": (one(f"{call}&invite={two}&invite={two}", pair.bearer("eve")), 400),
            "malformed": (one(f"{call}&invite=%zz", pair.bearer("eve")), 400),
            "garbage": (one(f"{call}&invite=garbage", pair.bearer("eve")), 403),
            "at other calls": (
                one(f"GET /api/v1/queue/status?room=presale&invite={two}", pair.bearer("eve")),
                404,
            ),
        }
        outcomes = await pair.compare_all({name: case for name, (case, _) in answers.items()})
        got = {name: int(outcome.got[9:12]) for name, outcome in zip(answers, outcomes, strict=True)}
        assert got == {name: status for name, (_, status) in answers.items()}
