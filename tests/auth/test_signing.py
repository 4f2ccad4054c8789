"""Signing keys: what they sign, others' libraries verify; and only private ES256 keys are taken."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwt

from gateway.auth.jws import parse_jws, verify_jws
from gateway.auth.key_set import parse_key_set
from gateway.auth.signing import SigningKey, UnusableKey, generate_private_key
from tests.support.tokens import private_pem

CLAIMS = {"sub": "가", "n": 1}


def test_the_gateway_s_own_reader_verifies_what_was_signed() -> None:
    key = SigningKey(generate_private_key())
    keys = parse_key_set(json.dumps({"keys": [key.public_jwk]}).encode(), ("ES256",))
    jws = parse_jws(key.sign("queue-pass+jwt", CLAIMS))
    verify_jws(jws, keys, typ="queue-pass+jwt")
    assert jws.claims == CLAIMS
    assert jws.header == {"alg": "ES256", "kid": key.id, "typ": "queue-pass+jwt"}


def test_python_jose_s_own_reader_verifies_what_was_signed() -> None:
    key = SigningKey(generate_private_key())
    assert jwt.decode(key.sign("a+jwt", CLAIMS), key.public_jwk, algorithms=["ES256"]) == CLAIMS


def test_the_id_is_the_thumbprint_of_rfc_7638() -> None:
    key = SigningKey(generate_private_key())
    text = '{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.format(**key.public_jwk)
    expected = base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
    assert key.id == key.public_jwk["kid"] == expected


def test_coordinates_have_their_full_length() -> None:
    for _ in range(300):  # one in 128 begins with a zero byte
        public = SigningKey(generate_private_key()).public_jwk
        assert len(public["x"]) == len(public["y"]) == 43


def test_the_public_key_has_no_private_member() -> None:
    assert set(SigningKey(generate_private_key()).public_jwk) == {"crv", "kty", "x", "y", "kid", "use", "alg"}


def public_pem() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize(
    "text",
    ["", "x", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", public_pem(), "{}", "\ud800"]
    + [private_pem(algorithm, 0) for algorithm in ("ES384", "RS256", "EdDSA")],
    ids=["empty", "text", "empty PEM", "public", "JSON", "surrogate", "ES384", "RS256", "EdDSA"],
)
def test_what_is_no_private_key_for_es256_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(UnusableKey) as refused:
        SigningKey(text)
    assert str(refused.value) == "it is no private key for ES256"
    assert refused.value.__cause__ is None
