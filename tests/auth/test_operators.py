"""Operators by their tokens."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from gateway.auth.operators import Operator, Operators
from gateway.errors import RouteNotFound, TokenInvalid, TokenRequired, TooManyWrongTokens


def person(name: str, token: str, role: str = "act") -> Operator:
    return Operator(name, "act" if role == "act" else "watch", hashlib.sha256(token.encode()).digest())


def operators(*named: Operator, token: str | None = None) -> Operators:
    known = Operators(lambda: token)
    known.named = named
    return known


def test_without_any_operator_there_is_nothing_to_call() -> None:
    assert not operators().exist
    for given in ((), ("Bearer ",), ("Bearer None",)):
        with pytest.raises(RouteNotFound):
            operators().identify(given, "192.0.2.1")


def test_each_operator_is_known_by_the_token() -> None:
    known = operators(person("anna", "one"), person("bob", "two", "watch"), token="three")
    names = [known.identify([f"Bearer {token}"], "").name for token in ("one", "two", "three")]
    assert names == ["anna", "bob", "management"]
    assert known.identify(["bearer  three "], "").role == "act"


@pytest.mark.parametrize(
    "given",
    [
        ["Bearer "],
        ["Bearer on"],
        ["Bearer one,"],
        ["Basic one"],
        ["one"],
        ["Bearer one", "Bearer one"],
        ["Bearer \udce9"],
        ["Bearer " + hashlib.sha256(b"one").hexdigest()],
    ],
)
def test_another_value_is_no_token(given: list[str]) -> None:
    known = operators(person("anna", "one"), token="three")
    assert known.find(given) is None
    with pytest.raises(TokenInvalid):
        known.identify(given, "")


def test_without_a_token_one_is_asked_for_and_nothing_is_counted() -> None:
    rejected: list[None] = []
    known = Operators(lambda: "three", lambda: rejected.append(None))
    for _ in range(20):
        with pytest.raises(TokenRequired):
            known.identify([], "192.0.2.1")
    assert rejected == []


def test_wrong_tokens_are_counted_and_refused_for_a_while_but_never_a_right_one() -> None:
    rejected: list[None] = []
    known = Operators(lambda: "three", lambda: rejected.append(None))
    for _ in range(10):
        with pytest.raises(TokenInvalid):
            known.identify(["Bearer x"], "192.0.2.1")
    with pytest.raises(TooManyWrongTokens) as refused:
        known.identify(["Bearer x"], "192.0.2.1")
    assert 0 < refused.value.retry_after <= 60
    assert len(rejected) == 11
    assert known.identify(["Bearer three"], "192.0.2.1").name == "management"
    with pytest.raises(TokenInvalid):
        known.identify(["Bearer x"], "192.0.2.2")


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    people = person("anna", "one"), person("bob", "two")
    known = operators(*people, token="three")
    for token in ("one", "x"):
        compared.clear()
        known.find([f"Bearer {token}"])
        assert compared == [*(each.sha256 for each in people), hashlib.sha256(b"three").digest()]


def test_an_operator_does_not_show_the_digest() -> None:
    assert repr(person("anna", "one")) == "Operator(name='anna', role='act')"
