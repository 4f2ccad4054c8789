"""The published file: what is read, and what is refused with which words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.draw import published
from gateway.draw.published import NotPublished, parse_published
from tests.draw.rig import BEACON, SECRET, operators_file, own_file, receipts

FILE = operators_file()
OWN = own_file("alice", "a.b.c")


def test_an_operators_file_is_read() -> None:
    draw = parse_published(json.dumps(FILE).encode())
    assert draw.secret == SECRET
    assert draw.beacon == BEACON
    assert draw.entries is not None
    assert set(draw.entries) == {receipt.entry for receipt in receipts().values()}
    assert (draw.receipt, draw.rank, draw.proof) == (None, None, None)


def test_a_user_s_own_file_is_read() -> None:
    draw = parse_published(json.dumps(OWN).encode())
    assert draw.entries is None
    assert draw.receipt == "a.b.c"
    assert draw.rank == 4
    assert draw.proof is not None
    assert (draw.proof.index, draw.proof.size, len(draw.proof.path)) == (0, 5, 3)


def test_a_whole_answer_of_the_gateway_is_read_too() -> None:
    answer = {"success": True, "message": "fine", "data": {**FILE, "more": [1]}, "traceId": "0"}
    assert parse_published(json.dumps(answer).encode()) == parse_published(json.dumps(FILE).encode())


def test_a_draw_without_a_beacon_is_read() -> None:
    for file in (operators_file(None), {name: FILE[name] for name in FILE if name != "beacon"}):
        assert parse_published(json.dumps(file).encode()).beacon is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"secret": None}, "the room has not opened yet"),
        ({"secret": SECRET.hex()[2:]}, "secret is not 32 bytes"),
        ({"commitment": FILE["commitment"].upper()}, "commitment is not 32 bytes in lower-case hex"),
        ({"root": 7}, "root is not"),
        ({"room": None}, "room is no text"),
        ({"beacon": "value"}, "beacon is no object"),
        ({"beacon": {"name": "x"}}, "beacon.value is no text"),
        ({"entries": {}}, "entries is no list"),
        ({"entries": ["00" * 32, "x"]}, "entry 2 is not 32 bytes"),
        ({"receipt": 1}, "receipt is no text"),
        ({"rank": "4"}, "rank is no whole number"),
        ({"rank": True}, "rank"),
        ({"rank": -1}, "rank"),
        ({"rank": 2**63}, "rank"),
        ({"proof": []}, "proof is no object"),
        ({"proof": {"index": 0, "size": 1, "path": ["00" * 32] * 65}}, "proof.path is no list of at most 64"),
        ({"proof": {"index": 0, "size": 1, "path": ["00"]}}, "a hash of proof.path"),
        ({"proof": {"index": 0, "path": []}}, "proof.size"),
    ],
)
def test_a_member_of_another_form_is_refused_with_its_name(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(NotPublished, match=fault):
        parse_published(json.dumps({**FILE, **change}).encode())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "not JSON"),
        (b"[]", "no JSON object"),
        (b"\xff{}", "UTF-8"),
        (b'{"secret": "00", "secret": "11"}', "occurs twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"secret": "' + b"0" * 64 + b'", "room": "\\ud800"}', "surrogates"),
        (b'{"rank": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_what_is_no_file_of_a_draw_is_refused(text: bytes, fault: str) -> None:
    with pytest.raises(NotPublished, match=fault):
        parse_published(text)


def test_files_and_lists_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(FILE).encode()
    monkeypatch.setattr(published, "MAX_ENTRIES", 4)
    with pytest.raises(NotPublished, match="more than 4 entries"):
        parse_published(text)
    monkeypatch.setattr(published, "MAX_BYTES", len(text) - 1)
    with pytest.raises(NotPublished, match="longer than"):
        parse_published(text)


@given(st.recursive(st.none() | st.integers() | st.text() | st.booleans(), st.lists))
def test_no_value_of_a_member_crashes_the_reader(value: object) -> None:
    for name in FILE | OWN:
        with contextlib.suppress(NotPublished):
            parse_published(json.dumps({**FILE, **OWN, name: value}).encode())
