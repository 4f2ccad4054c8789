"""Entries of the audit as Python reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis.crc import key_slot

from gateway.waiting_room.audit import MAX_ENTRIES, AuditEntry, parse_audit
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.room import Room

INCLUDE = Path(__file__).parents[2] / "lua_scripts" / "includes" / "audit.lua"


@pytest.mark.parametrize(
    ("setting", "stored", "shown"),
    [
        (b"capacity", b"500", ("capacity", "500")),
        (b"duration_ms", b"604800001", ("duration", "604800.001s")),
        (b"paused", b"1", ("paused", "true")),
        (b"absent", b"", ("absent", "60s")),
        (b"hold", b"90500", ("hold", "90.5s")),
        (b"max_session", b"0", ("max_session", "0s")),
        (b"a-later-one", b"x", ("a-later-one", "x")),
        (b"absent", b"x", ("absent", "x")),
        (b"rate", b"", ("rate", "off")),
        (b"rate", b"120/m", ("rate", "120/m")),
    ],
)
def test_values_are_shown_as_an_operator_writes_them(
    setting: bytes, stored: bytes, shown: tuple[str, str]
) -> None:
    (entry,) = parse_audit([(b"1-0", [b"setting", setting, b"to", stored])])
    assert (entry.setting, entry.after) == shown


def test_what_is_missing_or_unusable_is_empty() -> None:
    empty = AuditEntry(0, "", "", "", "", "", "", "")
    assert (
        parse_audit([(b"1-0", []), (b"2-0", None), (b"3-0", [b"at", b"x"]), (b"4-0", [b"by"])]) == [empty] * 4
    )
    assert parse_audit([(b"1-0", [b"by", b"\xff"])])[0].by == "\ufffd"


def test_python_knows_how_many_entries_there_are() -> None:
    assert re.search(rf"^local MOST_ENTRIES = {MAX_ENTRIES}$", INCLUDE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("prefix", "room"), [("", "vip"), ("shop:", "vip"), ("{gw}:", "default")])
def test_entries_are_in_the_slot_of_their_room_on_a_cluster(prefix: str, room: str) -> None:
    keys = RoomKeys(prefix, room)
    assert {key_slot(key.encode()) for key in (keys.audit, *keys.common)} == {key_slot(keys.line.encode())}


async def test_a_room_has_its_changes_the_newest_first(room: Room) -> None:
    assert await room.operations.audit(10) == []
    await room.operations.set_limits(capacity=7, by="anna", reason="가\U0001f389")
    await room.lineup("ann")
    await room.operations.remove(["ann", "nobody"], by="bob")
    first, second = await room.operations.audit(10)
    assert first[1:] == ("bob", "remove", "", "ann", "ALLOWED_IN", "NONE", "")
    assert second[1:4] == ("anna", "set", "capacity")
    assert (second.after, second.reason) == ("7", "가\U0001f389")
    assert first.at >= second.at > 0
    assert await room.operations.audit(1) == [first]
