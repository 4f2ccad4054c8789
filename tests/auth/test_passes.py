"""What a pass says, how long it holds, and the cookie that carries it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.auth.jws import parse_jws, verify_jws
from gateway.auth.key_ring import KeyRing, KeyTurn
from gateway.auth.key_set import parse_key_set
from gateway.auth.passes import _MAX_REMEMBERED, Pass, Passes, cookie_name, superseded
from gateway.auth.signing import SigningKey, generate_private_key
from tests.support.clock import Clock

NOW = 1_800_000_000.5
PRIVATE = generate_private_key()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    ring = KeyRing(clock)
    ring.update(NOW, [KeyTurn(SigningKey(PRIVATE).id, PRIVATE, NOW, NOW + 86_400, NOW + 90_000)])
    return ring


@pytest.fixture
def passes(ring: KeyRing) -> Passes:
    return Passes(ring, "shop")


def issue(passes: Passes, user: str = "kim", ticket: int = 7, expires_in: float = 240.0, **more: Any) -> Pass:
    issued = passes.issue(more.pop("room", "default"), user, ticket=ticket, expires_in=expires_in, **more)
    assert issued is not None
    return issued


def claims(issued: Pass) -> dict[str, Any]:
    return parse_jws(issued.token).claims


def test_a_pass_has_the_claims_and_the_type_of_a_pass(passes: Passes, ring: KeyRing) -> None:
    issued = issue(passes, "가/나")
    jws = parse_jws(issued.token)
    verify_jws(jws, parse_key_set(ring.document(), ("ES256",)), typ="queue-pass+jwt")
    assert jws.claims == {
        "iss": "shop",
        "aud": "default",
        "sub": "가/나",
        "iat": 1_800_000_000,
        "exp": 1_800_000_240,
        "jti": "7",
    }
    assert jws.header == {"alg": "ES256", "kid": SigningKey(PRIVATE).id, "typ": "queue-pass+jwt"}


@pytest.mark.parametrize(("expires_in", "life"), [(240.0, 240), (600.4, 600), (86_400.0, 600), (1.0, 1)])
def test_it_ends_with_the_session_and_after_ten_minutes_at_most(
    expires_in: float, life: int, passes: Passes
) -> None:
    one = claims(issue(passes, expires_in=expires_in))
    assert one["exp"] - one["iat"] == life


def test_it_never_outlives_the_session(passes: Passes) -> None:
    assert claims(issue(passes, expires_in=10.4))["exp"] <= NOW + 10.4


def test_a_session_about_to_end_has_no_pass(passes: Passes) -> None:
    assert passes.issue("default", "kim", ticket=7, expires_in=0.4) is None


def test_without_a_key_there_is_no_pass(clock: Clock) -> None:
    assert Passes(KeyRing(clock), "shop").issue("default", "kim", ticket=7, expires_in=9.0) is None


def test_it_is_renewed_with_the_session_and_keeps_its_jti(passes: Passes, clock: Clock) -> None:
    first = issue(passes, ticket=0)
    assert issue(passes, ticket=0).token == first.token
    clock.now += 1
    second = issue(passes, ticket=0)
    assert claims(second)["exp"] == claims(first)["exp"] + 1
    assert claims(second)["jti"] == claims(first)["jti"]
    assert len(claims(first)["jti"]) == 22


def test_the_ticket_stays_the_jti_once_it_is_known(passes: Passes, clock: Clock) -> None:
    issue(passes, ticket=7)
    clock.now += 1
    assert claims(issue(passes, ticket=0))["jti"] == "7"


@pytest.mark.parametrize("how", ["admitted anew", "session over", "another room", "another user"])
def test_another_session_has_another_jti(how: str, passes: Passes, clock: Clock) -> None:
    first = claims(issue(passes, ticket=0, expires_in=30))["jti"]
    more: dict[str, Any] = {}
    if how == "session over":
        clock.now += 30
    else:
        more = {"admitted anew": {"fresh": True}, "another room": {"room": "vip"}}.get(how, {"user": "lee"})
    assert claims(issue(passes, ticket=0, **more))["jti"] != first


def test_the_cookie_holds_the_pass_as_long_as_it_is_good(passes: Passes) -> None:
    issued = issue(passes)
    assert issued.cookie == (f"queue-pass={issued.token}; Path=/; Max-Age=240; HttpOnly; SameSite=Lax")
    assert issue(passes, secure=True).cookie == issued.cookie + "; Secure"
    assert issue(passes, room="vip").cookie.startswith("queue-pass-vip=ey")


def test_rooms_have_cookies_of_their_own() -> None:
    assert [cookie_name(room) for room in ("default", "vip")] == ["queue-pass", "queue-pass-vip"]


def test_remembered_sessions_are_bounded(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _MAX_REMEMBERED == 16_384
    monkeypatch.setattr("gateway.auth.passes._MAX_REMEMBERED", 10)
    for number in range(30):
        issue(passes, f"user-{number}")
    assert len(passes._sessions) == 10


def test_a_pass_fits_into_a_cookie_whatever_the_user_is_called(ring: KeyRing) -> None:
    issued = issue(Passes(ring, "i" * 1000), "가" * 85, room="r" * 64)
    assert len(issued.cookie) < 4096
    assert json.dumps(issued.token) == f'"{issued.token}"'


def test_a_browser_keeps_the_newest_passes_that_fit() -> None:
    new = "queue-pass-c=" + "n" * 1000 + "; Path=/; HttpOnly"
    lines = ["a=1; queue-pass=" + "x" * 1600, "queue-pass-b=" + "y" * 1600 + "; queue-pass-c=" + "z" * 1500]
    assert superseded(lines, new) == ("queue-pass=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",)
    assert superseded(lines[:1], new) == ()
    assert superseded(lines, "queue-pass-c=n") == ()
    others = ("Queue-Pass", "queue-passport", "queue-pass-;", "queue-pass-é")
    assert superseded([f"{name}={'x' * 5000}" for name in others], new) == ()


def test_over_tls_the_cookie_that_takes_a_pass_away_is_secure() -> None:
    (gone,) = superseded(["queue-pass-a=" + "x" * 5000], "queue-pass=n; Path=/", secure=True)
    assert gone == "queue-pass-a=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
