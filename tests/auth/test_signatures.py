"""Every algorithm, real keys for it, and what someone without the private key tries."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from gateway.auth.jwks import Jwks
from gateway.auth.key_set import parse_key_set
from gateway.auth.signatures import ALGORITHMS
from gateway.auth.tokens import TokenVerifier
from gateway.errors import TokenInvalid
from tests.auth.attacks import NOW, good
from tests.auth.rig import STILL
from tests.support.clock import Clock
from tests.support.tokens import Issuer, b64

EVERY = tuple(sorted(ALGORITHMS))
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def published(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def own(issuer: Issuer, **changes: object) -> dict[str, Any]:
    """The issuer's key as published, with other members."""
    (key,) = issuer.jwks()["keys"]
    return {name: value for name, value in (key | changes).items() if value is not None}


@asynccontextmanager
async def verifying(document: bytes, algorithms: Sequence[str]) -> AsyncIterator[TokenVerifier]:
    async def fetch(_uri: str) -> bytes:
        return document

    async with Jwks("http://127.0.0.1:1/", algorithms, fetch, timing=STILL).running() as jwks:
        yield TokenVerifier(jwks, clock=Clock(NOW))


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_token_of_each_algorithm_is_good(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    async with verifying(published(own(issuer)), (algorithm,)) as verifier:
        token = good(issuer)
        assert (await verifier.check(token)).user_id == "user-1"
        head, claims, signature = good(issuer, sub="other").split(".")
        for wrong in (f"{head}.{claims}.{token.split('.')[2]}", f"{head}.{token.split('.')[1]}.{signature}"):
            with pytest.raises(TokenInvalid, match="signature"):
                await verifier.check(wrong)
        with pytest.raises(TokenInvalid, match="signature"):
            await verifier.check(good(Issuer(algorithm=algorithm, key=99, kid=issuer.kid)))


@pytest.mark.parametrize("algorithm", EVERY)
async def test_no_other_algorithm_is_accepted_than_those_allowed(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    others = [each for each in EVERY if each != algorithm]
    async with verifying(published(own(issuer, alg=None), own(Issuer(key=5))), others) as verifier:
        with pytest.raises(TokenInvalid, match="alg is not allowed"):
            await verifier.check(good(issuer))


@pytest.mark.parametrize(("signed", "said"), list(product(EVERY, EVERY)))
async def test_a_signature_of_one_algorithm_is_none_of_another(signed: str, said: str) -> None:
    """The key itself is for every algorithm of its kind, since it does not say for which."""
    issuer = Issuer(algorithm=signed)
    same = {signed, said} <= {"EdDSA", "Ed25519"}
    async with verifying(published(own(issuer, alg=None)), EVERY) as verifier:
        token = good(issuer, headers={"alg": said})
        if signed == said or same:
            assert await verifier.check(token)
            return
        with pytest.raises(TokenInvalid):
            await verifier.check(token)


@pytest.mark.parametrize(("alg", "said"), list(product(EVERY, EVERY)))
async def test_a_key_that_says_for_what_it_is_is_for_nothing_else(alg: str, said: str) -> None:
    issuer = Issuer(algorithm=said)
    key = own(issuer, alg=alg)
    try:
        found = parse_key_set(published(key), EVERY).keys[issuer.kid]
    except KeyError:
        assert alg != said
        return
    assert set(found) == {alg}
    assert found[alg].algorithm == alg


def hmac_token(secret: bytes, alg: str, kid: str) -> str:
    head = b64(json.dumps({"alg": alg, "kid": kid}).encode())
    text = f"{head}.{b64(json.dumps({'sub': 'admin', 'exp': NOW + 600}).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_public_key_is_no_shared_secret(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    (key,) = issuer.jwks()["keys"]
    text = key.get("n") or key["x"]
    secrets = (issuer.public_pem(), text.encode(), base64.urlsafe_b64decode(text + "=="))
    async with verifying(published(key), EVERY) as verifier:
        for secret, alg in product(secrets, ("HS256", algorithm)):
            with pytest.raises(TokenInvalid):
                await verifier.check(hmac_token(secret, alg, issuer.kid))


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "", "HS256", "Ed448", "ES256K", "RSA1_5", "eddsa", "PS1"]
)
async def test_what_is_no_algorithm_of_ours_is_refused_with_and_without_a_signature(alg: str) -> None:
    issuer = Issuer(algorithm="EdDSA")
    async with verifying(published(own(issuer)), EVERY) as verifier:
        token = good(issuer, headers={"alg": alg})
        for each in (token, token.rpartition(".")[0] + "."):
            with pytest.raises(TokenInvalid, match="alg is not allowed"):
                await verifier.check(each)


def with_signature(token: str, signature: bytes) -> str:
    return f"{token.rpartition('.')[0]}.{b64(signature)}"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
async def test_signatures_that_a_careless_check_takes_for_good_are_not(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    size = {"ES256": 32, "ES384": 48, "ES512": 66}[algorithm]
    order = P256_ORDER.to_bytes(size, "big")
    async with verifying(published(own(issuer)), (algorithm,)) as verifier:
        token = good(issuer)
        await verifier.check(token)
        sound = base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")
        one = (1).to_bytes(size, "big")
        zero = bytes(size)
        for signature in (
            zero + zero,
            zero + one,
            one + zero,
            order + order,
            order + one,
            b"\xff" * (2 * size),
            sound[size:] + sound[:size],
            sound[:size],
            sound + b"\0",
            b"\0" + sound,
            b"\x30\x06\x02\x01\x00\x02\x01\x00",
        ):
            with pytest.raises(TokenInvalid, match="signature"):
                await verifier.check(with_signature(good(issuer, n=1), signature))


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
async def test_malleable_and_empty_signatures_of_ed25519_are_none(algorithm: str) -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    issuer = Issuer(algorithm=algorithm)
    async with verifying(published(own(issuer)), (algorithm,)) as verifier:
        token = good(issuer)
        sound = base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")
        scalar = int.from_bytes(sound[32:], "little")
        for signature in (
            sound[:32] + (scalar + order).to_bytes(32, "little"),
            bytes(64),
            b"\1" + bytes(63),
            sound[:63],
            sound + b"\0",
            sound[32:] + sound[:32],
        ):
            with pytest.raises(TokenInvalid, match="signature"):
                await verifier.check(with_signature(token, signature))
        assert await verifier.check(token)


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 64])
async def test_pss_has_a_salt_as_long_as_its_hash(salt: int) -> None:
    issuer = Issuer(algorithm="PS256")
    async with verifying(published(own(issuer)), ("PS256",)) as verifier:
        token = good(issuer)
        signed = token.rpartition(".")[0].encode()
        with pytest.raises(TokenInvalid, match="signature"):
            await verifier.check(with_signature(token, issuer._key.sign(signed, salt)))
        assert await verifier.check(with_signature(token, issuer._key.sign(signed, 32)))


# From the literature: every encoding of a point of small order (RFC 7748, "Taming the many EdDSAs").
WEAK = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
)


@pytest.mark.parametrize("point", WEAK)
def test_a_key_under_which_anyone_can_sign_is_left_out(point: str) -> None:
    key = {"kty": "OKP", "crv": "Ed25519", "kid": "o", "x": b64(bytes.fromhex(point))}
    (left_out,) = parse_key_set(published(key), EVERY).unused_entries
    assert str(left_out) == "'o' (its x is a point under which anyone can sign)"
    assert not left_out.harmless


@pytest.mark.parametrize(
    ("change", "reason", "harmless"),
    [
        ({"crv": "Ed448"}, "its kty and crv are none", True),
        ({"crv": "X25519"}, "its kty and crv are none", True),
        ({"crv": None}, "its kty and crv are none", True),
        ({"kty": "EC"}, "its kty and crv are none", True),
        ({"alg": "ES256"}, "its alg is not allowed for it", True),
        ({"alg": "Ed448"}, "its alg is not allowed for it", True),
        ({"d": b64(bytes(32))}, "it holds private members", False),
        ({"x": None}, "no x", False),
        ({"x": 7}, "its x is not a text", False),
        ({"x": b64(bytes(31))}, "its x does not have 32 bytes", False),
        ({"x": b64(b"\0" + b"\7" * 32)}, "its x does not have 32 bytes", False),
        ({"use": "enc"}, "its use is not sig", True),
    ],
)
def test_an_edwards_key_that_is_not_ours_is_left_out(
    change: dict[str, Any], reason: str, harmless: bool
) -> None:
    key_set = parse_key_set(published(own(Issuer(algorithm="EdDSA"), **change)), EVERY)
    assert key_set.keys == key_set.fitting == {}
    (left_out,) = key_set.unused_entries
    assert left_out.reason.startswith(reason)
    assert left_out.harmless is harmless


async def test_a_key_of_another_edwards_curve_signs_nothing() -> None:
    private = Ed448PrivateKey.generate()
    raw = private.public_key().public_bytes_raw()
    key = {"kty": "OKP", "crv": "Ed448", "kid": "o", "x": b64(raw)}
    head, claims = b64(b'{"alg":"EdDSA","kid":"o"}'), b64(json.dumps({"sub": "a", "exp": NOW + 9}).encode())
    signature = private.sign(f"{head}.{claims}".encode())
    async with verifying(published(key, own(Issuer())), EVERY) as verifier:
        with pytest.raises(TokenInvalid, match="unknown kid"):
            await verifier.check(f"{head}.{claims}.{b64(signature)}")


async def test_a_key_of_another_curve_than_the_algorithms_signs_nothing() -> None:
    """A key of P-256 used for ES384 and ES512, which some libraries do."""
    issuer = Issuer(algorithm="ES256")
    assert issuer._key.prepared_key.curve.name == SECP256R1.name
    async with verifying(published(own(issuer, alg=None)), EVERY) as verifier:
        for alg in ("ES384", "ES512"):
            with pytest.raises(TokenInvalid, match="another algorithm"):
                await verifier.check(good(issuer, headers={"alg": alg}))
            with pytest.raises(TokenInvalid, match="no key fits"):
                await verifier.check(good(issuer, headers={"alg": alg, "kid": None}))
