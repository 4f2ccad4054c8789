from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from jose import jwk

from gateway.auth.key_set import (
    MAX_DOCUMENT_BYTES,
    MAX_KEYS,
    NoKeySet,
    _encode_number,
    _number,
    parse_key_set,
)
from tests.support.tokens import Issuer, b64, private_pem

EVERY_RSA = ("RS256", "RS384", "RS512")
RSA = Issuer().jwks()["keys"][0]
EC = Issuer(algorithm="ES256").jwks()["keys"][0]


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def small_rsa() -> dict[str, Any]:
    public = jwk.construct(private_pem("RS256", 0, bits=1024), "RS256").public_key().to_dict()
    return {**public, "kid": "small"}


def with_bytes(key: dict[str, Any], member: str, value: bytes) -> dict[str, Any]:
    return key | {member: b64(value)}


@pytest.mark.parametrize(
    ("key", "allowed", "expected"),
    [
        (RSA, ("RS256",), {"RS256"}),
        (RSA, EVERY_RSA, {"RS256"}),
        ({k: v for k, v in RSA.items() if k != "alg"}, EVERY_RSA, set(EVERY_RSA)),
        ({k: v for k, v in RSA.items() if k != "alg"}, ("RS384", "ES256"), {"RS384"}),
        ({k: v for k, v in RSA.items() if k != "use"}, ("RS256",), {"RS256"}),
        (RSA | {"key_ops": ["verify"]}, ("RS256",), {"RS256"}),
        (RSA | {"x5c": ["nonsense"], "x5u": "http://127.0.0.1:1/", "anything": 1}, ("RS256",), {"RS256"}),
        (EC, ("ES256",), {"ES256"}),
        ({k: v for k, v in EC.items() if k != "alg"}, ("ES256", "ES384", "RS256"), {"ES256"}),
        # Java's BigInteger.toByteArray leads with a zero byte.
        (with_bytes(RSA, "n", b"\0" + base64.urlsafe_b64decode(RSA["n"] + "==")), ("RS256",), {"RS256"}),
    ],
)
def test_a_key_serves_the_allowed_algorithms_it_is_for(
    key: dict[str, Any], allowed: tuple[str, ...], expected: set[str]
) -> None:
    key_set = parse_key_set(document(key), allowed)
    assert set(key_set.keys[key["kid"]]) == expected
    assert key_set.skipped == 0


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("a string", "no object"),
        ({}, "empty"),
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}, "a symmetric key"),
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "RS256"}, "a symmetric key that says RS256"),
        (RSA | {"alg": "HS256"}, "a public key for HMAC"),
        (RSA | {"alg": "none"}, "a key for no algorithm"),
        (RSA | {"alg": "RS512"}, "an algorithm that is not allowed"),
        (RSA | {"alg": "RSA-OAEP"}, "an algorithm for encryption"),
        (RSA | {"alg": ["RS256"]}, "a list of algorithms"),
        (RSA | {"use": "enc"}, "for encryption"),
        (RSA | {"key_ops": ["sign"]}, "for signing"),
        (RSA | {"key_ops": "verify"}, "operations that are no list"),
        (RSA | {"d": "AQAB"}, "a private key"),
        (RSA | {"kid": 7}, "a kid that is no string"),
        (RSA | {"kid": "k" * 256}, "an endless kid"),
        ({k: v for k, v in RSA.items() if k != "n"}, "no modulus"),
        ({k: v for k, v in RSA.items() if k != "e"}, "no exponent"),
        (RSA | {"n": RSA["n"][:-1] + "_"}, "stray bits behind the modulus"),
        (RSA | {"n": "!" + RSA["n"][1:]}, "a letter that no alphabet has"),
        (RSA | {"n": "=" + RSA["n"]}, "padding in front"),
        (RSA | {"n": RSA["n"] + "=A"}, "padding inside"),
        (RSA | {"n": [RSA["n"]]}, "a modulus in a list"),
        (RSA | {"n": None}, "no modulus, as null"),
        (RSA | {"oth": [{"r": "AQAB"}]}, "another prime"),
        (RSA | {"key_ops": ["encrypt"]}, "for encrypting"),
        (RSA | {"use": ["sig"]}, "a list of uses"),
        (RSA | {"n": 3}, "a modulus that is a number"),
        (RSA | {"n": "ｎ" * 400}, "a modulus beyond ASCII"),
        (RSA | {"e": "AQ"}, "an exponent of one"),
        (RSA | {"e": "Ag"}, "an even exponent"),
        (with_bytes(RSA, "e", b"\x01" * 5), "an exponent that makes verifying slow"),
        (with_bytes(RSA, "n", b"\xff" * 1025), "a modulus that makes verifying slow"),
        (small_rsa(), "1024 bits"),
        (EC | {"alg": "RS256"}, "a curve that says RSA"),
        (EC | {"kty": "RSA"}, "a curve in an RSA key"),
        (EC | {"crv": "P-384"}, "another curve than the point's"),
        (EC | {"crv": "secp256k1"}, "an unknown curve"),
        (EC | {"crv": ["P-256"]}, "a list of curves"),
        (EC | {"alg": "ES384"}, "an algorithm of another curve"),
        (EC | {"y": EC["x"]}, "a point off the curve"),
        (with_bytes(EC, "x", b"\xff" * 33), "a coordinate that is too long"),
        ({"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(32)), "kid": "o"}, "a kind that is not allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_doubtful_key_is_left_out_and_counted_and_spoils_no_other(key: Any, why: str) -> None:
    good = Issuer(key=1).jwks()["keys"][0]
    key_set = parse_key_set(document(key, good), ("RS256", "ES256"))
    assert set(key_set.keys) == {"key-1"}
    assert key_set.skipped == 1


def broken_into_lines(text: str) -> str:
    return "\r\n ".join(text[at : at + 64] for at in range(0, len(text), 64))


def standard(text: str) -> str:
    return text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)


ABSENT = [
    *(
        {member: None}
        for member in ("use", "alg", "key_ops", "d", "p", "q", "dp", "dq", "qi", "oth", "k", "x5c")
    ),
    *({member: []} for member in ("key_ops", "oth", "x5c")),
    *({member: ""} for member in ("use", "alg", "d", "k")),
    {"oth": {}},
    {"d": None, "use": None, "alg": None, "key_ops": None, "oth": []},
]


@pytest.mark.parametrize("change", ABSENT, ids=str)
@pytest.mark.parametrize("key", [RSA, EC], ids=["RSA", "EC"])
def test_members_that_are_null_or_empty_count_as_absent(key: dict[str, Any], change: dict[str, Any]) -> None:
    key_set = parse_key_set(document(key | change), ("RS256", "ES256"))
    assert key_set.keys == parse_key_set(document(key), ("RS256", "ES256")).keys
    assert key_set.unused_entries == ()


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text + "==",
        lambda text: text + "=",
        standard,
        broken_into_lines,
        lambda text: broken_into_lines(standard(text)) + "\n",
        lambda text: b64(b"\0" + base64.urlsafe_b64decode(text + "==")),
        lambda text: b64(bytes(8) + base64.urlsafe_b64decode(text + "==")),
    ],
)
@pytest.mark.parametrize("key", [RSA, EC], ids=["RSA", "EC"])
def test_a_number_is_the_same_key_in_whatever_form(key: dict[str, Any], form: Callable[[str], str]) -> None:
    changes = {member: form(key[member]) for member in ("n", "e", "x", "y") if member in key}
    key_set = parse_key_set(document(key | changes), ("RS256", "ES256"))
    assert key_set.keys == parse_key_set(document(key), ("RS256", "ES256")).keys
    assert key_set.unused_entries == ()


def test_a_coordinate_that_lost_its_zero_bytes_is_a_number_all_the_same() -> None:
    number = 1 << 240
    assert _encode_number(number, 32) == b64(number.to_bytes(32, "big"))
    assert _number({"x": b64(number.to_bytes(31, "big"))}, "x") == number
    assert _encode_number(0) == "AA"


def test_a_document_may_begin_with_a_byte_order_mark() -> None:
    assert parse_key_set(b"\xef\xbb\xbf" + document(RSA), ("RS256",)) == parse_key_set(
        document(RSA), ("RS256",)
    )
    with pytest.raises(ValueError):  # noqa: PT011
        parse_key_set(b"\xef\xbb\xbf" * 2 + document(RSA), ("RS256",))
    with pytest.raises(ValueError):  # noqa: PT011
        parse_key_set(document(RSA).decode().encode("utf-16"), ("RS256",))


@pytest.mark.parametrize(
    ("key", "shown", "harmless"),
    [
        (RSA | {"kid": "e1", "use": "enc"}, "'e1' (its use is not sig)", True),
        (RSA | {"key_ops": ["wrapKey"]}, "'key-0' (its key_ops are not for verifying)", True),
        (RSA | {"alg": "RSA-OAEP"}, "'key-0' (its alg is not allowed for it)", True),
        ({"kty": "OKP", "kid": "o", "crv": "X25519"}, "'o' (its kty and crv are none", True),
        (RSA | {"d": "c2VjcmV0"}, "'key-0' (it holds private members", False),
        (RSA | {"d": "c2VjcmV0", "use": "enc"}, "'key-0' (it holds private members", False),
        ({"kty": "oct", "k": "c2VjcmV0"}, "entry 1 (it holds private members", False),
        ("a string", "entry 1 (not an object)", False),
        (RSA | {"kid": 7}, "entry 1 (the kid is not a text)", False),
        (RSA | {"kid": "k" * 256}, "'" + "k" * 64 + "' (the kid is longer than 255 characters)", False),
        (RSA | {"n": "c2VjcmV0!"}, "'key-0' (malformed key material)", False),
        (RSA | {"n": 3}, "'key-0' (its n is not a text)", False),
        (RSA | {"n": None}, "'key-0' (no n)", False),
        (small_rsa(), "'small' (its n must have 2048 to 8192 bits", False),
        (EC | {"y": EC["x"]}, "'key-0' (malformed key material)", False),
    ],
)
def test_what_is_left_out_is_named_with_its_reason(key: Any, shown: str, harmless: bool) -> None:
    (left_out,) = parse_key_set(document(key), ("RS256", "ES256")).unused_entries
    assert str(left_out).startswith(shown)
    assert left_out.harmless is harmless
    assert "c2VjcmV0" not in str(left_out)


SOUND = json.dumps(Issuer(key=1).jwks()["keys"][0])
ODD = json.dumps(RSA)[:-1]


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (ODD + ', "use": "sig"}', "'key-0' (a member in it occurs twice)"),
        (ODD + ', "kid": "other"}', "entry 1 (a member in it occurs twice)"),
        (ODD + ', "more": {"a": 1, "a": 1}}', "'key-0' (a member in it occurs twice)"),
        (ODD + ', "more": [[{"a": 1, "\\u0061": 1}]]}', "'key-0' (a member in it occurs twice)"),
        (ODD + ', "iat": NaN}', "'key-0' (NaN in it is not JSON)"),
        (ODD + ', "iat": [-Infinity]}', "'key-0' (-Infinity in it is not JSON)"),
        (ODD + ', "iat": ' + "9" * 5000 + "}", "'key-0' (a number in it is too long)"),
        ("NaN", "entry 1 (not an object)"),
        ("[]", "entry 1 (not an object)"),
        ("null", "entry 1 (not an object)"),
    ],
    ids=lambda text: text[-40:],
)
def test_an_odd_key_costs_no_other(entry: str, shown: str) -> None:
    text = f'{{"keys": [{entry}, {SOUND}], "more": NaN, "more": {"9" * 5000}}}'
    key_set = parse_key_set(text.encode(), ("RS256",))
    assert set(key_set.keys) == {"key-1"}
    assert [str(each) for each in key_set.unused_entries] == [shown]
    assert not key_set.unused_entries[0].harmless


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b"<html>", "it is not JSON but HTML or XML"),
        (b"{", "it is not JSON (line 1, column 2)"),
        (b"keys = []", "it is not JSON (line 1, column 1)"),
        (b"[" + SOUND.encode() + b"]", "it is a list and not an object"),
        (b"7", "it is a single value and not an object"),
        (b"NaN", "it is a single value and not an object"),
        (b"{}", "it has no keys"),
        (b'{"issuer": "a", "jwks_uri": "b"}', "it has no keys, but a jwks_uri: that is where they are"),
        (b'{"keys": {}}', "its keys are not a list"),
        (b'{"keys": NaN}', "its keys are not a list"),
        (b'{"keys": null}', "it has no keys"),
        (b'{"keys": [], "keys": []}', "its member keys occurs twice"),
        (b'{"keys": []}' + b" " * MAX_DOCUMENT_BYTES, "it is longer than 262144 bytes"),
        ('{"keys": []}'.encode("utf-16"), "it is in UTF-16 or UTF-32, and JSON is in UTF-8"),
        ('{"keys": []}'.encode("utf-16-le"), "it is in UTF-16 or UTF-32, and JSON is in UTF-8"),
        ('{"keys": []}'.encode("utf-32-be"), "it is in UTF-16 or UTF-32, and JSON is in UTF-8"),
        (b'{"keys": ["\xff"]}', "it is not in UTF-8"),
        (b'{"keys": ' + b"[" * 100_000, "it is nested too deeply"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_what_is_no_key_set_says_what_it_is(text: bytes, why: str) -> None:
    with pytest.raises(NoKeySet) as failure:
        parse_key_set(text, ("RS256",))
    assert str(failure.value) == why


def test_the_first_of_two_keys_with_one_kid_counts() -> None:
    first, second = RSA, Issuer(key=1, kid=RSA["kid"]).jwks()["keys"][0]
    key_set = parse_key_set(document(first, second), ("RS256",))
    assert key_set.keys == parse_key_set(document(first), ("RS256",)).keys
    assert key_set.skipped == 1


def test_keys_of_two_kinds_may_share_a_kid() -> None:
    key_set = parse_key_set(document(RSA, EC), ("RS256", "ES256"))
    assert set(key_set.keys[RSA["kid"]]) == {"RS256", "ES256"}
    assert key_set.skipped == 0


def test_sets_with_the_same_material_are_equal() -> None:
    assert parse_key_set(document(RSA), ("RS256",)) == parse_key_set(document(RSA | {"x": 1}), ("RS256",))
    other = Issuer(key=1, kid=RSA["kid"]).jwks()["keys"][0]
    assert parse_key_set(document(RSA), ("RS256",)) != parse_key_set(document(other), ("RS256",))


def test_the_number_of_keys_is_bounded() -> None:
    keys = [RSA | {"kid": str(number)} for number in range(MAX_KEYS + 5)]
    key_set = parse_key_set(document(*keys), ("RS256",))
    assert len(key_set.keys) == MAX_KEYS
    assert key_set.skipped == 5
    assert [str(each) for each in key_set.unused_entries] == [
        f"the last 5 of {MAX_KEYS + 5} entries (more than {MAX_KEYS} keys)"
    ]


def test_entries_without_end_are_left_out_together() -> None:
    count = MAX_DOCUMENT_BYTES // 3 - 10
    key_set = parse_key_set(b'{"keys":[' + b"[]," * count + b"1]}", ("RS256",))
    assert key_set.skipped == count + 1
    assert len(key_set.unused_entries) == MAX_KEYS + 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": []}',
        b'{"keys": []}' + b" " * MAX_DOCUMENT_BYTES,
    ],
)
def test_what_is_no_key_set_is_an_error_and_not_an_empty_set(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_key_set(text, ("RS256",))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_a_key_verifies_what_its_issuer_signed_and_nothing_else(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    key = parse_key_set(json.dumps(issuer.jwks()).encode(), (algorithm,)).keys[issuer.kid][algorithm]
    signing_input, _, encoded = issuer.token().encode().rpartition(b".")
    signature = base64.urlsafe_b64decode(encoded + b"==")
    assert key.verify(signing_input, signature)
    assert not key.verify(signing_input + b"x", signature)
    for wrong in (b"", b"\0", signature[:-1], signature + b"\0", bytes(len(signature)), bytes(10_000)):
        assert not key.verify(signing_input, wrong)
