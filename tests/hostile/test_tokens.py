"""Tokens that must not get anybody in, through a running gateway: the service sees nothing of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.auth import attacks
from tests.hostile.rig import Gateway, request
from tests.support.gateway import Gateways
from tests.support.tokens import Issuer

HOUR = 3600


def claims(text: str) -> Callable[[Issuer], str]:
    """A token with these claims, well signed; NOW is the present."""
    return lambda issuer: issuer.signed(
        {"alg": "RS256", "kid": issuer.kid}, text.replace("NOW", str(int(time.time()))).encode()
    )


def at(**times: float) -> Callable[[Issuer], str]:
    return lambda issuer: issuer.token("somebody", **{name: time.time() + t for name, t in times.items()})


TIMES = {
    "expired": at(exp=-HOUR),
    "expired beyond the leeway": at(exp=-62),
    "not valid yet": at(nbf=HOUR),
    "not valid within the leeway": at(nbf=63),
    "without exp": lambda issuer: issuer.token("somebody", exp=None),
}
for given in (
    '"NOW"',
    '"1900000000"',
    "true",
    "null",
    "[1900000000]",
    "{}",
    '""',
    "NaN",
    "Infinity",
    "1e400",
):
    TIMES[f"exp {given}"] = claims(f'{{"sub": "somebody", "exp": {given}}}')
for given in ("-1", "0", "1900000000000", "1e30", "NOW000", "9" * 5000):
    TIMES[f"exp {given[:20]}"] = claims(f'{{"sub": "somebody", "exp": {given}}}')
for given in ('"0"', "true", "[]", "NaN"):  # null counts as absent
    TIMES[f"nbf {given}"] = claims(f'{{"sub": "somebody", "exp": 1900000000, "nbf": {given}}}')

SUBJECTS = {
    f"sub {json.dumps(given)[:30]}": claims(json.dumps({"sub": given, "exp": 1_900_000_000}))
    for given in (
        None, "", " ", " admin", "admin ", "a\nb", "a\r\nX-User-Type: ADMIN", "a\0b", "a\tb", "a\x7fb", "a\x85b",
        "a  b", "admin\u00a0", "\u00a0admin", "admin\u3000", "adminà", "음악", "admin\ufeff", "a\u2028b",
        "\ud800", "x" * 256, "\ub300" * 86, 1, 1.5, True, ["admin"], {"a": 1},
    )
}  # fmt: skip
SUBJECTS["no sub"] = claims('{"exp": 1900000000}')

ALL: dict[str, Callable[[Issuer], str]] = {**attacks.ATTACKS, **TIMES, **SUBJECTS}
del ALL["a space in front"]  # in a header, that is no part of the token


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacks' clock is the gateway's here."""
    monkeypatch.setattr(attacks, "NOW", time.time())


@pytest.mark.parametrize("attack", ALL)
def test_an_unsound_token_is_refused(one_gateway: Gateway, attack: str) -> None:
    token = ALL[attack](one_gateway.issuer).encode("utf-8", "surrogateescape")
    sent = request("GET /api/v1/reservations/1 HTTP/1.1", b"Authorization: Bearer " + token + b"\r\n")
    talk = one_gateway.talk([sent], answers=1)
    assert one_gateway.behind() == ([], [])
    [answer] = talk.answers
    # While the key set was fetched too recently to be asked about a kid, the gateway can't say yet.
    assert answer.status in {400, 401} or (answer.status, answer.code) == (503, "AUTH_UNAVAILABLE"), answer
    if answer.status == 401:
        assert answer.code in {"TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REQUIRED"}
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(token) < 20 or token[:20] not in answer.body


def headers(gateway: Gateway) -> dict[str, bytes]:
    good = gateway.bearer("somebody")
    token = good.split()[2]
    return {
        "two, the same": good * 2,
        "two, the bad one last": good + b"Authorization: Bearer x\r\n",
        "two, the bad one first": b"authorization: Bearer x\r\n" + good,
        "two in one": b"Authorization: Bearer " + token + b", Bearer " + token + b"\r\n",
        "no scheme": b"Authorization: " + token + b"\r\n",
        "Basic": b"Authorization: Basic " + token + b"\r\n",
        "Token": b"Authorization: Token " + token + b"\r\n",
        "a tab behind the scheme": b"Authorization: Bearer\t" + token + b"\r\n",
        "quoted": b'Authorization: Bearer "' + token + b'"\r\n',
        "under another name": b"Proxy-Authorization: Bearer " + token + b"\r\n",
        "with an underscore": b"X-Authorization: Bearer " + token + b"\r\n",
        "in a cookie": b"Cookie: access_token=" + token + b"; token=" + token + b"\r\n",
    }


def test_a_good_token_in_the_wrong_place_or_twice_counts_for_nothing(one_gateway: Gateway) -> None:
    for place, header in headers(one_gateway).items():
        answer = one_gateway.ask("/api/v1/reservations/1", header)
        assert (answer.status, answer.code[:5]) == (401, "TOKEN"), place
    token = one_gateway.bearer().split()[2].decode()
    for query in (f"access_token={token}", f"token={token}", f"Authorization=Bearer%20{token}"):
        assert one_gateway.ask(f"/api/v1/reservations/1?{query}").code == "TOKEN_REQUIRED"
    assert one_gateway.behind() == ([], [])


@pytest.mark.parametrize("attack", ["alg none, no signature", "HS256 with the public key", "own key in jwk"])
def test_on_a_public_call_a_bad_token_makes_the_caller_anonymous(one_gateway: Gateway, attack: str) -> None:
    token = attacks.ATTACKS[attack](one_gateway.issuer).encode()
    assert one_gateway.ask("/open/a", b"Authorization: Bearer " + token + b"\r\n").status == 200
    [one], _ = one_gateway.behind()
    assert one.values("X-User-Id") == one.values("X-User-Type") == []


OTHERS: list[dict[str, Any]] = [
    {"iss": "https://evil.example"},
    {"iss": "https://issuer.example/"},
    {"iss": None},
    {"iss": ["https://issuer.example"]},
    {"aud": "other"},
    {"aud": None},
    {"aud": ["other"]},
    {"aud": "shop,other"},
    {"aud": {"shop": 1}},
]


async def test_tokens_of_others_and_for_others_are_refused(tmp_path: Path, redis_url: str) -> None:
    async with Gateways(tmp_path, redis_url) as gateways:
        gateway = await gateways.start(jwt_issuer="https://issuer.example", jwt_audience="shop")
        good = {"iss": "https://issuer.example", "aud": "shop"}
        assert (await gateway.user("somebody", **good)("GET", "/api/v1/reservations")).status == 200
        gateways.service.seen.clear()
        for wrong in OTHERS:
            answer = await gateway.user("somebody", **good | wrong)("GET", "/api/v1/reservations")
            assert (answer.status, answer.code) == (401, "TOKEN_INVALID"), wrong
        assert gateways.service.seen == []
