"""Which claims of a token are kept for the rules of rooms, and as which texts."""

from __future__ import annotations

import pytest

from gateway.auth.claims import claims_of
from gateway.auth.jwks import Jwks
from gateway.auth.tokens import TokenVerifier
from tests.auth.rig import STILL, Source
from tests.support.tokens import Issuer

WANTED = {"role": frozenset({"staff", "7", "true", "1.5"}), "realm.roles": frozenset({"staff"})}


@pytest.mark.parametrize(
    ("token", "kept"),
    [
        ({}, set()),
        ({"role": "staff"}, {("role", "staff")}),
        ({"role": "guest"}, set()),
        ({"role": "Staff"}, set()),
        ({"role": " staff"}, set()),
        ({"role": ["guest", "staff"]}, {("role", "staff")}),
        ({"role": [["staff"]]}, set()),
        ({"role": {"staff": True}}, set()),
        ({"role": None}, set()),
        ({"role": 7}, {("role", "7")}),
        ({"role": True}, {("role", "true")}),
        ({"role": 1}, set()),
        ({"role": 1.5}, {("role", "1.5")}),
        ({"role": ["staff", 7]}, {("role", "staff"), ("role", "7")}),
        ({"realm": {"roles": ["staff"]}}, {("realm.roles", "staff")}),
        ({"realm.roles": "staff"}, {("realm.roles", "staff")}),
        ({"realm.roles": "guest", "realm": {"roles": ["staff"]}}, set()),
        ({"realm": "roles"}, set()),
        ({"realm": {"roles": {"staff": 1}}}, set()),
    ],
)
def test_claims_compare_as_texts(token: dict[str, object], kept: set[tuple[str, str]]) -> None:
    assert claims_of(token, WANTED) == kept


async def test_a_principal_has_the_wanted_claims_alone_also_after_these_have_changed() -> None:
    issuer = Issuer()
    async with Jwks("x", ("RS256",), Source(issuer), timing=STILL).running() as jwks:
        verifier = TokenVerifier(jwks)
        token = issuer.token("anna", role="staff", tier=["gold"])
        assert not (await verifier.check(token)).claims
        verifier.set_wanted_claims({"role": frozenset({"staff"})})
        assert verifier.cached(token) is None
        assert (await verifier.check(token)).claims == {("role", "staff")}
        assert verifier.cached(token) is not None
        verifier.set_wanted_claims({"role": frozenset({"staff"})})
        assert verifier.cached(token) is not None
        verifier.set_wanted_claims({"tier": frozenset({"gold"})})
        assert verifier.cached(token) is None
        assert (await verifier.check(token)).claims == {("tier", "gold")}
