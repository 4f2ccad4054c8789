"""Verifying a draw: each kind of fraud is found, by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.draw.formulas import commitment_of
from gateway.draw.published import parse_published
from gateway.draw.receipts import Receipt, receipt_for
from gateway.draw.verification import Noted, verify
from tests.draw.rig import ROOM, operators_file, own_file, receipts

FILE = operators_file()
OWN = own_file("alice", "a.b.c")
ALICE = receipts()["alice"]
STRANGER = receipt_for(ROOM, "mallory", b"m" * 16, 1_800_000_000)


def found(file: dict[str, Any], receipt: Receipt | None = None, **noted: Any) -> dict[str, bool | None]:
    draw = parse_published(json.dumps(file).encode())
    return {check.name: check.holds for check in verify(draw, receipt, Noted(**noted))}


def false(checks: dict[str, bool | None]) -> list[str]:
    return [name for name, holds in checks.items() if holds is False]


def test_an_honest_draw_holds() -> None:
    assert found(FILE) == {"commitment": True, "root": True, "order": True}
    assert found(operators_file(None)) == {"commitment": True, "root": True, "order": True}


def test_an_empty_draw_holds() -> None:
    assert found(operators_file(users=())) == {"commitment": True, "root": True, "order": True}


def test_a_user_s_own_file_holds_as_far_as_it_goes() -> None:
    assert found(OWN, ALICE, user="alice") == {
        "commitment": True,
        "root": None,
        "order": None,
        "receipt's room": True,
        "receipt's user": True,
        "proof": True,
        "rank": None,
    }


def test_a_receipt_is_found_in_the_operators_file() -> None:
    assert found(FILE, ALICE)["rank"] is True
    assert found({**FILE, **OWN}, ALICE)["rank"] is True


OTHER_SECRET = "ff" * 32
OTHER_COMMITMENT = commitment_of(bytes.fromhex(OTHER_SECRET)).hex()
ENTRIES = FILE["entries"]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"secret": OTHER_SECRET}, ["commitment", "order"]),
        ({"secret": OTHER_SECRET, "commitment": OTHER_COMMITMENT}, ["order"]),
        ({"beacon": {"name": "x", "value": "0f1e2e"}}, ["order"]),
        ({"beacon": None}, ["order"]),
        ({"entries": [ENTRIES[1], ENTRIES[0], *ENTRIES[2:]]}, ["order"]),
        ({"entries": ENTRIES[:-1]}, ["root"]),
        ({"entries": [*ENTRIES[:-1], STRANGER.entry.hex()]}, ["root", "order"]),
        ({"entries": [ENTRIES[0], *ENTRIES]}, ["root", "order"]),
        ({"root": "00" * 32}, ["root", "order"]),
    ],
)
def test_fraud_is_found(change: dict[str, Any], faults: list[str]) -> None:
    assert false(found({**FILE, **change})) == faults


def test_what_was_noted_before_must_be_what_was_published() -> None:
    commitment, root = bytes.fromhex(FILE["commitment"]), bytes.fromhex(FILE["root"])
    assert false(found(FILE, commitment=commitment, root=root)) == []
    assert false(found(FILE, commitment=b"0" * 32)) == ["commitment noted before"]
    assert false(found(FILE, root=b"0" * 32)) == ["root noted before"]


def test_a_receipt_that_does_not_fit_is_found() -> None:
    assert false(found(FILE, STRANGER)) == ["rank"]
    assert false(found(OWN, STRANGER)) == ["proof"]
    assert false(found(FILE, ALICE._replace(room="other"))) == ["receipt's room"]
    assert false(found(FILE, ALICE, user="bob")) == ["receipt's user"]
    assert false(found({**FILE, "rank": 5}, ALICE)) == ["rank"]


def test_findings_name_the_rank_from_which_the_order_is_wrong() -> None:
    swapped = {**FILE, "entries": [*ENTRIES[:2], ENTRIES[3], ENTRIES[2], ENTRIES[4]]}
    checks = verify(parse_published(json.dumps(swapped).encode()))
    assert next(check.finding for check in checks if check.name == "order").startswith("the entry at rank 4 ")
