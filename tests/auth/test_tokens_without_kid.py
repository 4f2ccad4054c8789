"""Tokens that do not name their key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.auth.jwks import Jwks
from gateway.auth.tokens import TokenVerifier
from gateway.errors import AuthUnavailable, TokenInvalid
from tests.auth.attacks import good
from tests.auth.rig import STILL
from tests.support.clock import Clock
from tests.support.tokens import Issuer

ALLOWED = ("RS256", "PS256", "ES256")


class Published:
    """A key set that a test writes as it likes."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.fetches = 0
        self.away = False

    async def fetch(self, _uri: str) -> bytes:
        self.fetches += 1
        if self.away:
            raise OSError
        return json.dumps({"keys": self.keys}).encode()


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
async def jwks(published: Published, clock: Clock) -> Jwks:
    return Jwks("http://127.0.0.1:1/", ALLOWED, published.fetch, clock, STILL)


@pytest.fixture
def verifier(jwks: Jwks, clock: Clock) -> TokenVerifier:
    return TokenVerifier(jwks, clock=clock)


def key(number: int = 0, algorithm: str = "RS256", **changes: object) -> dict[str, Any]:
    (found,) = Issuer(key=number, algorithm=algorithm).jwks()["keys"]
    return {name: value for name, value in (found | changes).items() if value is not None}


def nameless(number: int = 0, algorithm: str = "RS256", **headers: object) -> str:
    return good(Issuer(key=number, algorithm=algorithm), headers={"kid": None} | headers)


ONLY_ONE = {
    "alone": lambda: [key()],
    "alone, without a kid": lambda: [key(kid=None)],
    "alone, without a kid and alg": lambda: [key(kid=None, alg=None)],
    "beside one of another kty": lambda: [key(), key(1, "ES256")],
    "beside one of another alg": lambda: [key(), key(1, alg="PS256")],
    "beside one of an alg that is not allowed": lambda: [key(), key(1, alg="RS512")],
    "beside one for encryption": lambda: [key(1, use="enc"), key()],
    "beside one for other operations": lambda: [key(), key(1, key_ops=["wrapKey"])],
    "beside a private one": lambda: [key(), key(1, d="AQAB")],
    "twice, under two names": lambda: [key(), key(kid="again")],
}


@pytest.mark.parametrize("keys", ONLY_ONE.values(), ids=ONLY_ONE)
async def test_a_token_without_a_kid_is_good_if_one_key_alone_fits(
    keys: Callable[[], list[dict[str, Any]]], published: Published, jwks: Jwks, verifier: TokenVerifier
) -> None:
    published.keys = keys()
    async with jwks.running():
        assert (await verifier.check(nameless())).user_id == "user-1"
        assert published.fetches == 1
        with pytest.raises(TokenInvalid, match="signature"):
            await verifier.check(nameless(99))


SEVERAL = {
    "two": lambda: [key(), key(1)],
    "two without a kid": lambda: [key(kid=None), key(1, kid=None)],
    "one with and one without": lambda: [key(), key(1, kid=None)],
    "two of the same kid": lambda: [key(kid="a"), key(1, kid="a")],
    "one that does not say for what it is": lambda: [key(), key(1, alg=None)],
}


@pytest.mark.parametrize("keys", SEVERAL.values(), ids=SEVERAL)
async def test_it_is_refused_if_several_fit(
    keys: Callable[[], list[dict[str, Any]]], published: Published, jwks: Jwks, verifier: TokenVerifier
) -> None:
    published.keys = keys()
    async with jwks.running():
        for number in (0, 1):
            with pytest.raises(TokenInvalid, match="several keys fit"):
                await verifier.check(nameless(number))
        assert published.fetches == 1


async def test_it_is_refused_if_none_fits_and_503_if_there_is_no_key(
    published: Published, jwks: Jwks, verifier: TokenVerifier, clock: Clock
) -> None:
    published.keys = [key(1, "ES256")]
    async with jwks.running():
        for _ in range(2):  # the first waits for the fetch of the start
            with pytest.raises(TokenInvalid, match="no key fits"):
                await verifier.check(nameless())
        assert published.fetches == 2, "one that fits may have come since"
        published.keys = []
        clock.now += 5
        with pytest.raises(AuthUnavailable):
            await verifier.check(nameless())


async def test_a_key_without_a_kid_is_for_no_token_that_names_one(
    published: Published, jwks: Jwks, verifier: TokenVerifier
) -> None:
    published.keys = [key(kid=None)]
    async with jwks.running():
        assert await verifier.check(nameless())
        for kid in ("key-0", "", None, 0):
            token = Issuer().signed({"alg": "RS256", "kid": kid}, {"sub": "a", "exp": 1_900_000_000})
            with pytest.raises(TokenInvalid, match="kid"):
                await verifier.check(token)


async def test_a_rotation_shows_by_the_signature_and_is_looked_for_as_often_as_unknown_kids(
    published: Published, jwks: Jwks, verifier: TokenVerifier, clock: Clock
) -> None:
    published.keys = [key(kid=None)]
    async with jwks.running():
        old = nameless()
        await verifier.check(old)
        published.keys = [key(1, kid=None)]
        assert (await verifier.check(nameless(1))).user_id == "user-1"
        assert published.fetches == 2
        assert verifier.cached(old) is None
        for passed, fetches in ((0.0, 2), (4.9, 2), (0.2, 3), (1.0, 3)):
            clock.now += passed
            with pytest.raises(TokenInvalid):
                await verifier.check(old)
            assert published.fetches == fetches
        published.keys = [key(1, kid=None), key(2, kid=None)]
        clock.now += 5
        with pytest.raises(TokenInvalid, match="several keys fit"):
            await verifier.check(nameless(2))


async def test_a_rotation_while_the_auth_server_is_away_is_no_wrong_signature(
    jwks: Jwks, published: Published, verifier: TokenVerifier, clock: Clock
) -> None:
    published.keys = [key(kid=None)]
    async with jwks.running():
        assert await verifier.check(nameless())
        published.keys = [key(1, kid=None)]
        published.away = True
        for token in (nameless(1), nameless(1, algorithm="ES256")):
            for passed in (0.0, 5.0, 1.0):
                clock.now += passed
                with pytest.raises(AuthUnavailable):
                    await verifier.check(token)
        assert await verifier.check(nameless()), "what is known stays good"
        published.away = False
        clock.now += 5
        assert await verifier.check(nameless(1))


async def test_health_counts_keys_without_a_name_as_well(published: Published, jwks: Jwks) -> None:
    published.keys = [key(kid=None, alg=None), key(1), key(1), key(2, "ES256", kid=None)]
    async with jwks.running():
        await jwks.key("key-1", "RS256")
        status = jwks.status()
    assert (status.keys, status.skipped) == (3, 1)
