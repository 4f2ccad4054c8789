"""The audit: each change of an operator has its entry, written in the same call."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from gateway.waiting_room.audit import MAX_ENTRIES
from tests.waiting_room.rig import NOTHING, PLACE, SLOT, START, Rig


def entries(rig: Rig) -> list[tuple[str, ...]]:
    """act, setting, user, from and to of each entry, the oldest first."""
    found = rig.client.xrange(rig.keys.audit)
    return [tuple(fields[name] for name in ("act", "setting", "user", "from", "to")) for _, fields in found]


def test_an_entry_says_who_changed_what_when_and_why(rig: Rig) -> None:
    rig.author = ("anna", "more servers")
    rig.advance(1500)
    rig.limits(capacity=5)
    ((_, entry),) = rig.client.xrange(rig.keys.audit)
    assert entry == {
        "at": str(START + 1500),
        "by": "anna",
        "act": "set",
        "setting": "capacity",
        "user": "",
        "from": "2",
        "to": "5",
        "reason": "more servers",
    }


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"capacity": 5}, [("set", "capacity", "", "2", "5")]),
        ({"capacity": 2}, [("set", "capacity", "", "2", "2")]),
        ({"duration": 5000}, [("set", "duration_ms", "", "10000", "5000")]),
        ({"paused": True}, [("pause", "paused", "", "0", "1")]),
        ({"paused": False}, [("resume", "paused", "", "0", "0")]),
        ({"rules": "absent=5000"}, [("set", "absent", "", "", "5000")]),
        ({"rules": "absent="}, [("lift", "absent", "", "", "")]),
        ({"lift": True}, [("lift", "", "", "", "")]),
        (
            {"capacity": 0, "duration": 1, "paused": True, "rules": "absent=0 hold=7"},
            [
                ("set", "capacity", "", "2", "0"),
                ("set", "duration_ms", "", "10000", "1"),
                ("pause", "paused", "", "0", "1"),
                ("set", "absent", "", "", "0"),
                ("set", "hold", "", "", "7"),
            ],
        ),
    ],
)
def test_every_setting_that_is_named_has_an_entry(
    rig: Rig, change: dict[str, Any], written: list[tuple[str, ...]]
) -> None:
    rig.configure(2, 10_000)
    rig.limits(**change)
    assert entries(rig) == written


def test_a_lift_has_an_entry_for_each_setting_that_it_changes(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=7, rules="absent=5000 hold=7")
    rig.client.delete(rig.keys.audit)
    rig.limits(lift=True, rules="hold=9")
    assert entries(rig) == [
        ("lift", "capacity", "", "7", "2"),
        ("lift", "absent", "", "5000", ""),
        ("set", "hold", "", "7", "9"),
    ]


def test_a_removed_user_has_an_entry_and_a_user_who_leaves_has_none(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan", "eve")
    rig.limits(paused=True)
    rig.client.delete(rig.keys.audit)
    rig.sweep(absent=2000)
    rig.advance(1000)
    rig.status("dan", "eve")
    rig.sweep()
    rig.advance(1000)
    assert rig.sweep().parkings == 1
    assert rig.leave(("both", "ann"), ("both", "dan")) == [SLOT, PLACE]
    assert entries(rig) == []
    removed = rig.leave(*(("both", user) for user in ("bob", "cid", "eve", "zoe")), reason="OPERATOR")
    assert removed == [SLOT, PLACE, PLACE, NOTHING]
    assert entries(rig) == [
        ("remove", "", "bob", "ALLOWED_IN", "NONE"),
        ("remove", "", "cid", "PARKED", "NONE"),
        ("remove", "", "eve", "WAITING", "NONE"),
    ]


def test_the_last_thousand_entries_are_kept(rig: Rig) -> None:
    for number in range(MAX_ENTRIES + 5):
        rig.limits(capacity=number)
    found = entries(rig)
    assert len(found) == MAX_ENTRIES
    assert found[-1][-1] == str(MAX_ENTRIES + 4)


@pytest.mark.parametrize("by", ["", None])
def test_a_change_without_an_operator_changes_nothing(rig: Rig, by: str | None) -> None:
    rig.lineup("ann")
    before = rig.everything()
    rig.author = ("",) if by is None else (by, "")  # type: ignore[assignment]
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT by"):
        rig.limits(capacity=5)
    assert rig.everything() == before


def test_where_no_entry_can_be_written_nothing_is_changed(rig: Rig) -> None:
    rig.lineup("ann")
    rig.client.set(rig.keys.audit, "no stream")
    before = rig.everything()
    for change in (lambda: rig.limits(capacity=5), lambda: rig.leave(("both", "ann"), reason="OPERATOR")):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE_KEY"):
            change()
    assert rig.everything() == before
    assert rig.leave(("both", "ann")) == [SLOT]


def test_at_maxmemory_a_change_and_its_entry_are_written_all_the_same(rig: Rig) -> None:
    rig.lineup("ann")
    rig.set_memory_full(True)
    try:
        rig.limits(capacity=5)
        rig.leave(("both", "ann"), reason="OPERATOR")
        assert [entry[0] for entry in entries(rig)] == ["set", "remove"]
    finally:
        rig.set_memory_full(False)
