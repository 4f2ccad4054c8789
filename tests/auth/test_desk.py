"""Sessions of the desk: their token, their proof and their hosts. The attacks are in tests/api/test_desk.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.auth import desk
from gateway.auth.operators import Operator

ANNA = Operator("anna", "act", b"1" * 32)


def test_a_token_is_found_in_the_cookie_of_its_kind() -> None:
    token = desk.new_token()
    assert token != desk.new_token()
    for secure in (False, True):
        pair = desk.cookie(token, secure=secure).partition(";")[0]
        assert desk.token_of([f"a=b; {pair}"], secure=secure) == token
        assert desk.token_of([pair], secure=not secure) is None
        assert desk.token_of([pair, pair], secure=secure) is None
    assert desk.is_desk_cookie(b"desk")
    assert desk.is_desk_token(token.encode())
    assert not desk.is_desk_token(b"x")


def test_a_proof_is_of_one_session_and_one_entry() -> None:
    token = desk.new_token()
    proof = desk.proof_of(token, ANNA)
    others = (replace(ANNA, name="bob"), replace(ANNA, role="watch"), replace(ANNA, sha256=b"2" * 32))
    assert proof == desk.proof_of(token, Operator("anna", "act", b"1" * 32))
    assert proof not in {
        desk.proof_of(desk.new_token(), ANNA),
        *(desk.proof_of(token, each) for each in others),
    }
    assert token not in (proof, desk.hash_of(token), desk.csrf_token_of(token))


def test_a_change_needs_exactly_the_token_of_the_session() -> None:
    token = desk.new_token()
    right = desk.csrf_token_of(token)
    assert desk.may_change(token, [right])
    for given in ([], [""], [right, right], [right[:-1]], ["é"], [desk.csrf_token_of(desk.new_token())]):
        assert not desk.may_change(token, given)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]", "desk.example.com:8443", "a.localhost."]
)
def test_known_hosts_are_answered(host: str) -> None:
    assert desk.answers_host(host, ["Desk.example.com"])


@pytest.mark.parametrize(
    "host", ["", "[", "example.com", "xlocalhost", "0.0.0.0", "2130706433", "desk.example.com@evil"]
)
def test_other_hosts_are_not(host: str) -> None:
    assert not desk.answers_host(host, ["desk.example.com"])
