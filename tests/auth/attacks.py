"""Tokens that must not get anybody in, by what is wrong with them."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any

from gateway.auth.tokens import MAX_TOKEN_CHARS
from tests.support.tokens import Issuer, b64

NOW = 1_800_000_000.0


def good(issuer: Issuer, sub: Any = "user-1", **claims: Any) -> str:
    """A token that is good for ten minutes from ``NOW``, unless the claims spoil it."""
    return issuer.token(sub, **{"exp": NOW + 600} | claims)


def hmac_with(secret: bytes, header: dict[str, Any], algorithm: str = "sha256") -> str:
    claims = {"sub": "admin", "exp": NOW + 600}
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), algorithm))}"


def resigned(token: str, header: dict[str, Any]) -> str:
    """The same claims and signature under another header."""
    _, claims, signature = token.split(".")
    return f"{b64(json.dumps(header).encode())}.{claims}.{signature}"


def forger(issuer: Issuer) -> Issuer:
    """Signs with a key of its own under the honest issuer's kid."""
    return Issuer(key=99, kid=issuer.kid)


def own_jwk(issuer: Issuer) -> dict[str, Any]:
    key: dict[str, Any] = forger(issuer).jwks()["keys"][0]
    return key


Attack = Callable[[Issuer], str]


def body(text: str | bytes) -> Attack:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda issuer: issuer.signed({"alg": "RS256", "kid": issuer.kid}, data)


def head(text: str) -> Attack:
    return lambda issuer: issuer.signed(text.encode(), {"sub": "user-1", "exp": NOW + 600})


def header(**members: Any) -> Attack:
    return lambda issuer: good(issuer, headers=members)


ATTACKS: dict[str, Attack] = {
    # the algorithm
    "alg none, no signature": lambda i: good(i, headers={"alg": "none"}).rpartition(".")[0] + ".",
    "alg none, a signature": header(alg="none"),
    "alg nOnE": header(alg="nOnE"),
    "no alg": header(alg=None),
    "alg empty": header(alg=""),
    "alg in lower case": header(alg="rs256"),
    "alg a list": header(alg=["RS256"]),
    "alg an object": header(alg={"RS256": 1}),
    "alg not allowed": header(alg="RS512"),
    "alg of another key type": header(alg="ES256"),
    "HS256 with the public key": lambda i: hmac_with(i.public_pem(), {"alg": "HS256", "kid": i.kid}),
    "HS512 with the public key": lambda i: hmac_with(
        i.public_pem(), {"alg": "HS512", "kid": i.kid}, "sha512"
    ),
    "HMAC under RS256": lambda i: hmac_with(i.public_pem(), {"alg": "RS256", "kid": i.kid}),
    "HMAC with the modulus": lambda i: hmac_with(own_jwk(i)["n"].encode(), {"alg": "HS256", "kid": i.kid}),
    # the key
    "another key and no kid": lambda i: good(forger(i), headers={"kid": None}),
    "no kid, as null": lambda i: head(f'{{"alg": "RS256", "kid": null, "n": "{i.kid}"}}')(i),
    "empty kid": header(kid=""),
    "unknown kid": header(kid="nobody's"),
    "kid a path": header(kid="../../../../dev/null"),
    "kid a URL": header(kid="http://127.0.0.1:1/jwks.json"),
    "kid a number": header(kid=0),
    "kid a list": header(kid=["key-0"]),
    "kid with a space": header(kid="key-0 "),
    "another key under the right kid": lambda i: good(forger(i)),
    "own key in jwk": lambda i: good(forger(i), headers={"jwk": own_jwk(i)}),
    "own key behind jku": lambda i: good(forger(i), headers={"jku": "http://127.0.0.1:1/jwks.json"}),
    "own key behind x5u": lambda i: good(forger(i), headers={"x5u": "http://127.0.0.1:1/cert.pem"}),
    "own key in x5c": lambda i: good(forger(i), headers={"x5c": ["MIIB"]}),
    "own key in jwk, no kid": lambda i: good(forger(i), headers={"jwk": own_jwk(i), "kid": None}),
    # the header
    "crit": header(crit=["exp"]),
    "crit of nothing": header(crit=[]),
    "unencoded payload": header(crit=["b64"], b64=False),
    "unencoded payload without crit": header(b64=False),
    "b64 that is no truth": header(b64="true"),
    "alg twice": head('{"alg": "none", "alg": "RS256", "kid": "key-0"}'),
    "kid twice": head('{"alg": "RS256", "kid": "key-9", "kid": "key-0"}'),
    "header a list": head('["RS256"]'),
    "header a string": head('"RS256"'),
    "header empty": head(""),
    "header without end": head("[" * 5000),
    "header with a byte order mark": head('\ufeff{"alg": "RS256", "kid": "key-0"}'),
    "another header over the same signature": lambda i: resigned(
        good(i), {"kid": i.kid, "alg": "RS256", "typ": "JWT"}
    ),
    # the claims
    "claims a list": body("[]"),
    "claims a string": body('"sub"'),
    "claims null": body("null"),
    "claims empty": body(""),
    "claims not UTF-8": body(b'{"sub": "\xff", "exp": 1900000000}'),
    "claims without end": body('{"a":' + "[" * 5000),
    "sub twice": body('{"sub": "user-1", "sub": "admin", "exp": 1900000000}'),
    "exp twice": body('{"sub": "user-1", "exp": 1, "exp": 1900000000}'),
    "a member twice further in": body('{"sub": "user-1", "exp": 1900000000, "x": {"a": 1, "a": 2}}'),
    "a nested token": lambda i: body(good(i))(i),
    # the form
    "nothing": lambda _: "",
    "a word": lambda _: "null",
    "one part": lambda i: good(i).replace(".", ""),
    "two parts": lambda i: good(i).rpartition(".")[0],
    "four parts": lambda i: good(i) + ".",
    "five parts": lambda i: good(i) + ".YQ.YQ",
    "only dots": lambda _: "..",
    "an empty signature": lambda i: good(i).rpartition(".")[0] + ".",
    "a signature of zeros": lambda i: good(i).rpartition(".")[0] + "." + "A" * 342,
    "a shortened signature": lambda i: good(i)[:-4],
    "a padded signature": lambda i: good(i) + "==",
    "a respelled signature": lambda i: good(i)[:-1] + chr(ord(good(i)[-1]) + 1),
    "a padded header": lambda i: good(i).replace(".", "=.", 1),
    "a space in front": lambda i: " " + good(i),
    "a line break behind": lambda i: good(i) + "\n",
    "a line break inside": lambda i: good(i)[:50] + "\n" + good(i)[50:],
    "the standard alphabet": lambda i: good(i, a="???>>>~~~").replace("_", "/").replace("-", "+"),
    "two tokens in one": lambda i: f"{good(i)}, {good(i)}",
    "beyond ASCII": lambda i: good(i) + "é",
    "an undecodable byte": lambda i: good(i) + "\udcff",
    "one byte too long": lambda i: good(i, a="x" * MAX_TOKEN_CHARS),
    "a megabyte": lambda _: "e" * 1_000_000,
    "a megabyte of dots": lambda _: "." * 1_000_000,
}
