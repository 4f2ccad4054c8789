"""Signed invitations: whom they let in, and what is none."""

from __future__ import annotations

import base64

import pytest

from gateway.auth.invitations import Invitation, Invitations

END = 1_767_225_600_000
FIRST, SECOND = "a-secret-of-the-test", "another-secret-of-it"
ID = "00" * 12


def made(*signing: str) -> Invitations:
    return Invitations(signing or (FIRST,), entropy=bytes)


def test_an_invitation_is_for_its_room_and_for_any_user_or_for_one() -> None:
    open_one = made().make("vip", expires_at=END, uses=3)
    for user in ("ann", "bob", "\udcff"):
        assert made().read(open_one, "vip", user) == Invitation(ID, 3, END)
    assert made().read(open_one, "default", "ann") is None
    personal = made().make("vip", expires_at=END, user="ann")
    assert made().read(personal, "vip", "ann") == Invitation(ID, 1, END)
    assert made().read(personal, "vip", "bob") is None
    assert made().read(personal, "vip", "") is None
    assert made().read(made().make("vip", expires_at=END, user=""), "vip", "ann") is None


def test_the_first_secret_signs_and_all_verify() -> None:
    old, new = made(FIRST).make("vip", expires_at=END), made(SECOND).make("vip", expires_at=END)
    both = made(SECOND, FIRST)
    assert both.make("vip", expires_at=END) == new
    assert both.read(old, "vip", "ann")
    assert both.read(new, "vip", "ann")
    assert made(SECOND).read(old, "vip", "ann") is None


def test_ids_differ_and_the_text_shows_neither_room_nor_user() -> None:
    invitations = Invitations((FIRST,))
    one, other = (invitations.make("the-room", expires_at=END, user="the-user") for _ in range(2))
    assert one != other
    data = base64.urlsafe_b64decode(one)
    assert b"the-room" not in data
    assert b"the-user" not in data
    assert FIRST.encode() not in data


def test_no_changed_bit_is_overlooked() -> None:
    text = made().make("vip", expires_at=END, uses=3)
    data = base64.urlsafe_b64decode(text)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert made().read(base64.urlsafe_b64encode(changed).decode(), "vip", "ann") is None


@pytest.mark.parametrize(
    "text", ["", "x", "é" * 76, "=" * 76, "A" * 75, "A" * 76, "A" * 77, "+" * 76, " " * 76, "A" * 100_000]
)
def test_what_is_no_invitation(text: str) -> None:
    assert made().read(text, "vip", "ann") is None


def test_without_secrets_there_are_none() -> None:
    without = Invitations()
    assert not without
    assert without.read(made().make("vip", expires_at=END), "vip", "ann") is None
