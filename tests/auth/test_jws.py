"""Compact JWS of gateways: read strictly, and verified with the key that the header names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.auth.jws import MAX_CHARS, InvalidJws, Jws, parse_jws, verify_jws
from gateway.auth.key_set import KeySet, parse_key_set
from tests.support.tokens import Issuer, b64

TYP = "queue-pass+jwt"


def keys_of(*issuers: Issuer) -> KeySet:
    keys = [key for issuer in issuers for key in issuer.jwks()["keys"]]
    return parse_key_set(json.dumps({"keys": keys}).encode(), ("ES256",))


def signed(issuer: Issuer, **header: Any) -> Jws:
    return parse_jws(issuer.signed({"alg": "ES256", "kid": issuer.kid, "typ": TYP, **header}, {"sub": "가"}))


def test_a_good_one_is_read_and_verified() -> None:
    issuer = Issuer(algorithm="ES256")
    jws = signed(issuer)
    verify_jws(jws, keys_of(issuer), typ=TYP)
    assert jws.claims == {"sub": "가"}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"typ": "JWT"}, "typ"),
        ({"typ": None}, "typ"),
        ({"alg": "none"}, "alg"),
        ({"alg": "HS256"}, "alg"),
        ({"crit": ["b64"]}, "alg"),
        ({"kid": "unknown"}, "not among"),
        ({"kid": ["a"]}, "not among"),
    ],
)
def test_a_header_that_says_something_else_is_refused(header: dict[str, Any], words: str) -> None:
    issuer = Issuer(algorithm="ES256")
    with pytest.raises(InvalidJws, match=words):
        verify_jws(signed(issuer, **header), keys_of(issuer), typ=TYP)


def test_claims_and_signatures_of_others_are_refused() -> None:
    issuer, other = Issuer(algorithm="ES256"), Issuer(algorithm="ES256", key=1, kid="other")
    good = signed(issuer)
    for forged in (
        good._replace(signature=signed(other).signature),
        good._replace(signing_input=good.signing_input + b"x"),
        good._replace(signature=b""),
        good._replace(signature=good.signature[:-1]),
    ):
        with pytest.raises(InvalidJws, match="signature"):
            verify_jws(forged, keys_of(issuer, other), typ=TYP)


OBJECT = b64(b"{}")
TWICE = b64(b'{"a":1,"a":2}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        f"{OBJECT}.{OBJECT}",
        f"{OBJECT}.{OBJECT}.AA.AA",
        f"{OBJECT}.{b64(b'[]')}.AA",
        f"{OBJECT}.{b64(b'1')}.AA",
        f"{b64(b'{')}.{OBJECT}.AA",
        f"{TWICE}.{OBJECT}.AA",
        f"{OBJECT}=.{OBJECT}.AA",
        f"{OBJECT}.{OBJECT}.AB",
        f"{OBJECT}.{OBJECT}.\u00e9A",
        f"{OBJECT}.{OBJECT}.{'A' * MAX_CHARS}",
    ],
)
def test_what_is_no_compact_jws_is_refused(text: str) -> None:
    with pytest.raises(InvalidJws, match=r"it is no compact JWS"):
        parse_jws(text)
