"""Keys of a set that have nothing but certificates."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.auth.key_set import KeySet, members_of, parse_key_set
from gateway.auth.signatures import ALGORITHMS
from tests.support.certificates import certificate
from tests.support.tokens import Issuer, private_pem

EVERY = tuple(sorted(ALGORITHMS))
PUBLIC = ("n", "e", "crv", "x", "y")


def parsed(*keys: dict[str, Any]) -> KeySet:
    return parse_key_set(json.dumps({"keys": keys}).encode(), EVERY)


def bare(algorithm: str, **changes: object) -> dict[str, Any]:
    """An issuer's key of which only the certificate is left."""
    (key,) = Issuer(algorithm=algorithm).jwks()["keys"]
    kept = {name: value for name, value in key.items() if name not in PUBLIC}
    return kept | {"x5c": [certificate(private_pem(algorithm, 0))]} | changes


def some_pem(key: Any) -> str:
    form, secrecy = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, form, secrecy).decode())


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
)
def test_the_key_is_taken_from_the_first_certificate(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    for chain in ([certificate(private_pem(algorithm, 0))], [certificate(private_pem(algorithm, 0)), "CA"]):
        key_set = parsed(bare(algorithm, x5c=chain))
        assert key_set.unused_entries == ()
        assert key_set.keys == parsed(*issuer.jwks()["keys"]).keys
        signed, _, signature = issuer.token().encode().rpartition(b".")
        key = key_set.keys[issuer.kid][algorithm]
        assert key.verify(signed, base64.urlsafe_b64decode(signature + b"=="))


def test_a_certificate_may_be_broken_into_lines_and_over() -> None:
    text = certificate(private_pem("RS256", 0), days=-400)
    lines = "\r\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    assert parsed(bare("RS256", x5c=[lines])).keys == parsed(*Issuer().jwks()["keys"]).keys


def test_the_key_itself_counts_before_its_certificate() -> None:
    (key,) = Issuer().jwks()["keys"]
    other = certificate(private_pem("RS256", 7))
    assert parsed(key | {"x5c": [other]}).keys == parsed(key).keys
    broken = {name: value for name, value in key.items() if name != "e"} | {"x5c": [other]}
    (left_out,) = parsed(broken).unused_entries
    assert left_out.reason == "no e"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kty": "EC"}, "the key of its certificate is of another kty or crv"),
        ({"kty": "RSA"}, "the key of its certificate is of another kty or crv"),
        ({"crv": "P-384"}, "the key of its certificate is of another kty or crv"),
        ({"x5c": "text"}, "its x5c is not a list of texts"),
        ({"x5c": [7]}, "its x5c is not a list of texts"),
        ({"x5c": [""]}, "malformed key material"),
        ({"x5c": ["nonsense"]}, "malformed key material"),
        ({"x5c": ["n\u00f6nsense"]}, "malformed key material"),
        ({"x5c": ["AAAA"]}, "malformed key material"),
        ({"x5c": ["-----BEGIN CERTIFICATE-----"]}, "malformed key material"),
        pytest.param(
            {"x5c": [certificate(private_pem("ES256", 0))[:-40]]}, "malformed key material", id="cut off"
        ),
        pytest.param(
            {"x5c": [certificate(some_pem(ec.generate_private_key(ec.SECP256K1())))]},
            "malformed key material",
            id="another curve",
        ),
        ({"use": "enc"}, "its use is not sig"),
        ({"d": "AQAB"}, "it holds private members"),
        ({"alg": "RS256"}, "its alg is not allowed for it"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_certificate_that_is_of_no_use_is_left_out_with_a_reason(
    change: dict[str, Any], reason: str
) -> None:
    algorithm = "RS256" if change.get("kty") == "EC" else "ES256"
    key_set = parsed(bare(algorithm, **change))
    assert key_set.fitting == {}
    (left_out,) = key_set.unused_entries
    assert left_out.reason.startswith(reason)


def test_a_small_rsa_key_in_a_certificate_is_as_small() -> None:
    key = bare("RS256", x5c=[certificate(private_pem("RS256", 0, bits=1024))])
    (left_out,) = parsed(key).unused_entries
    assert left_out.reason.startswith("its n must have 2048 to 8192 bits")


def test_a_curve_that_no_token_is_checked_with_has_no_members() -> None:
    with pytest.raises(ValueError, match="another kind"):
        members_of(certificate(some_pem(ec.generate_private_key(ec.SECP192R1()))))
