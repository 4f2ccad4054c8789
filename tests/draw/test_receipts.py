"""What a receipt says, and what is no receipt."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.draw.receipts import parse_receipt, receipt_for

RECEIPT = receipt_for("concert", "alice", b"s" * 16, 1_800_000_000)
CLAIMS = RECEIPT.claims()


def test_a_receipt_says_what_the_contract_of_the_draw_names() -> None:
    assert RECEIPT.claims() == {
        "room": "concert",
        "entry": RECEIPT.entry.hex(),
        "salt": "73" * 16,
        "iat": 1_800_000_000,
    }
    assert parse_receipt({**CLAIMS, "more": 1}) == RECEIPT


def test_a_receipt_belongs_to_one_user() -> None:
    assert RECEIPT.is_of("alice")
    assert not RECEIPT.is_of("bob")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"room": None}, "room"),
        ({"room": "a\0b"}, "room"),
        ({"entry": RECEIPT.entry.hex().upper()}, "entry is not 32 bytes in lower-case hex"),
        ({"entry": RECEIPT.entry.hex()[2:]}, "entry"),
        ({"entry": 7}, "entry"),
        ({"salt": "zz" * 16}, "salt is not 16 bytes"),
        ({"salt": "\u0661\u0661" * 16}, "salt"),
        ({"iat": True}, "iat"),
        ({"iat": 1.5}, "iat"),
        ({"iat": None}, "iat"),
    ],
)
def test_what_is_no_receipt_is_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_receipt({**CLAIMS, **change})
