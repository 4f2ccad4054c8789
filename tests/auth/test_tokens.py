from __future__ import annotations

import hashlib
import time

import pytest

from gateway.auth.jwks import Jwks
from gateway.auth.tokens import LEEWAY_SECONDS, TokenVerifier
from gateway.errors import AuthUnavailable, TokenExpired, TokenInvalid
from tests.auth.attacks import ATTACKS, NOW, Attack, forger, good, own_jwk
from tests.auth.rig import STILL, Source
from tests.support.clock import Clock
from tests.support.tokens import Issuer


async def test_a_good_token_gives_its_principal(verifier: TokenVerifier, issuer: Issuer) -> None:
    principal = await verifier.check(good(issuer))
    assert (principal.user_id, principal.user_type) == ("user-1", "USER")
    assert (principal.expires_at, principal.late) == (NOW + 600, False)


async def test_what_is_expected_may_change_and_what_was_good_is_judged_anew(
    verifier: TokenVerifier, issuer: Issuer
) -> None:
    token = good(issuer, iss="one", aud=["x", "b"])
    await verifier.check(token)
    verifier.set_expected("one", ("a", "b"))
    assert verifier.cached(token) is None
    await verifier.check(token)
    verifier.set_expected("one", ("a", "c"))
    with pytest.raises(TokenInvalid, match="aud"):
        await verifier.check(token)
    verifier.set_expected("two", ())
    with pytest.raises(TokenInvalid, match="iss"):
        await verifier.check(token)
    verifier.set_expected(None, None)
    await verifier.check(token)


async def test_a_token_of_a_curve_is_as_good(clock: Clock) -> None:
    issuer = Issuer(algorithm="ES256")
    jwks = Jwks("http://127.0.0.1:1/", ("RS256", "ES256"), Source(issuer), timing=STILL)
    async with jwks.running():
        assert (await TokenVerifier(jwks, clock=clock).check(good(issuer))).user_id == "user-1"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_an_attack_is_an_invalid_token(verifier: TokenVerifier, issuer: Issuer, attack: Attack) -> None:
    await verifier.check(good(issuer))
    token = attack(issuer)
    for _ in range(2):
        with pytest.raises(TokenInvalid) as refusal:
            await verifier.check(token)
        assert verifier.cached(token) is None
    assert len(refusal.value.reason) < 60


async def test_a_tampered_claim_is_noticed(verifier: TokenVerifier, issuer: Issuer) -> None:
    start, claims, signature = good(issuer).split(".")
    other = good(issuer, sub="admin").split(".")[1]
    assert claims != other
    with pytest.raises(TokenInvalid, match="signature"):
        await verifier.check(f"{start}.{other}.{signature}")


async def test_what_a_header_may_hold_besides_changes_nothing(
    verifier: TokenVerifier, issuer: Issuer, source: Source
) -> None:
    odd = {
        "jku": "http://127.0.0.1:1/",
        "jwk": own_jwk(issuer),
        "x5u": "x",
        "x5c": [],
        "typ": "at+jwt",
        "b": 1,
    }
    assert (await verifier.check(good(issuer, headers=odd))).user_id == "user-1"
    assert source.fetches == 1


@pytest.mark.parametrize(
    ("overdue", "grace", "expected"),
    [
        (0, 0, "fine"),
        (LEEWAY_SECONDS - 1, 0, "fine"),
        (LEEWAY_SECONDS - 1, 3600, "fine"),
        (LEEWAY_SECONDS, 3600, "late"),
        (1800, 3600, "late"),
        (LEEWAY_SECONDS + 3599, 3600, "late"),
        (LEEWAY_SECONDS + 3600, 3600, "expired"),
        (LEEWAY_SECONDS, 0, "expired"),
        (10**6, 3600, "expired"),
    ],
)
async def test_grace_makes_an_expired_token_late(
    verifier: TokenVerifier, issuer: Issuer, overdue: float, grace: float, expected: str
) -> None:
    token = good(issuer, exp=NOW - overdue)
    if expected == "expired":
        with pytest.raises(TokenExpired):
            await verifier.check(token, grace=grace)
        return
    assert (await verifier.check(token, grace=grace)).late == (expected == "late")


async def test_a_late_principal_is_not_remembered_for_those_without_grace(
    verifier: TokenVerifier, issuer: Issuer
) -> None:
    token = good(issuer, exp=NOW - 1000)
    assert (await verifier.check(token, grace=3600)).late
    assert verifier.cached(token) is None
    with pytest.raises(TokenExpired):
        await verifier.check(token)


async def test_grace_excuses_nothing_but_lateness(verifier: TokenVerifier, issuer: Issuer) -> None:
    with pytest.raises(TokenInvalid):
        await verifier.check(good(forger(issuer), exp=NOW - 1000), grace=3600)


async def test_a_verified_token_is_remembered_until_it_expires(
    verifier: TokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    token = good(issuer)
    assert verifier.cached(token) is None
    principal = await verifier.check(token)
    assert verifier.cached(token) is principal
    clock.now = NOW + 600 + LEEWAY_SECONDS - 0.001
    assert verifier.cached(token) is principal
    clock.now += 0.001
    assert verifier.cached(token) is None
    with pytest.raises(TokenExpired):
        await verifier.check(token)


async def test_nothing_is_remembered_across_a_change_of_keys(
    verifier: TokenVerifier, issuer: Issuer, jwks: Jwks
) -> None:
    token = good(issuer)
    await verifier.check(token)
    issuer.rotate(keep=False)
    fresh = good(issuer)
    assert (await verifier.check(fresh)).user_id == "user-1"
    assert verifier.cached(token) is None
    with pytest.raises(TokenInvalid, match="unknown kid"):
        await verifier.check(token)
    assert verifier.cached(fresh)


async def test_a_rotated_key_needs_no_new_start(
    verifier: TokenVerifier, issuer: Issuer, source: Source
) -> None:
    old = good(issuer)
    await verifier.check(old)
    issuer.rotate()
    assert await verifier.check(good(issuer))
    assert await verifier.check(old)
    assert source.fetches == 2


async def test_the_least_recently_used_token_is_forgotten_first(
    jwks: Jwks, clock: Clock, issuer: Issuer
) -> None:
    verifier = TokenVerifier(jwks, cache_size=3, clock=clock)
    first, second, third, fourth = (good(issuer, n=n) for n in range(4))
    for token in (first, second, third):
        await verifier.check(token)
    assert verifier.cached(first)
    await verifier.check(fourth)
    assert [bool(verifier.cached(token)) for token in (first, second, third, fourth)] == [
        True,
        False,
        True,
        True,
    ]


async def test_remembered_headers_are_bounded_and_only_of_good_tokens(clock: Clock) -> None:
    issuer = Issuer(algorithm="ES256")
    jwks = Jwks("http://127.0.0.1:1/", ("ES256",), Source(issuer), timing=STILL)
    async with jwks.running():
        verifier = TokenVerifier(jwks, clock=clock)
        for number in range(20):
            with pytest.raises(TokenInvalid):
                await verifier.check(good(issuer, headers={"n": number})[:-4])
        assert len(verifier._headers) == 0
        for number in range(600):
            await verifier.check(good(issuer, headers={"n": number}))
        assert 0 < len(verifier._headers) <= 256


async def test_no_token_is_kept_in_clear(verifier: TokenVerifier, issuer: Issuer) -> None:
    token = good(issuer)
    await verifier.check(token)
    assert list(verifier._verified) == [hashlib.sha256(token.encode()).digest()]


async def test_without_keys_a_token_is_neither_good_nor_bad(issuer: Issuer) -> None:
    async def away(_uri: str) -> bytes:
        raise OSError

    async with Jwks("http://127.0.0.1:1/", ("RS256",), away, timing=STILL).running() as jwks:
        with pytest.raises(AuthUnavailable):
            await TokenVerifier(jwks).check(issuer.token())


async def test_the_clock_is_the_worlds_unless_another_is_given(jwks: Jwks, issuer: Issuer) -> None:
    verifier = TokenVerifier(jwks)
    assert await verifier.check(issuer.token())
    with pytest.raises(TokenExpired):
        await verifier.check(issuer.token(exp=time.time() - LEEWAY_SECONDS - 1))
