"""Names of rooms that calls make: which entry under ``rooms:`` holds for which room."""

from __future__ import annotations

import pytest

from gateway.room_names import ByRoom, RoomEntries, may_be_made

ENTRIES = RoomEntries(["default", "concert-*", "concert-vip-*", "concert-17", "seat-*-map"])


@pytest.mark.parametrize(
    ("room", "entry"),
    [
        ("default", "default"),
        ("concert-17", "concert-17"),
        ("concert-18", "concert-*"),
        ("concert-A_b-1", "concert-*"),
        ("concert-vip-1", "concert-vip-*"),
        ("concert-vip-", "concert-*"),
        ("seat-9-map", "seat-*-map"),
        ("concert-*", "concert-*"),
        ("concert-" + "x" * 40, "concert-*"),
        ("concert-" + "x" * 41, None),
        ("concert-", None),
        ("concert-ü", None),
        ("concert-1/2", None),
        ("concert-1\n", None),
        ("Concert-1", None),
        ("xconcert-1", None),
        ("seat-9-maps", None),
        ("", None),
    ],
)
def test_a_rooms_own_entry_counts_before_the_longest_one_with_a_star(room: str, entry: str | None) -> None:
    for _ in range(2):  # the second answer is remembered
        assert ENTRIES.of(room) == entry


def test_values_are_found_by_the_room_and_listed_by_the_entry() -> None:
    values = ByRoom(ENTRIES, {"concert-*": 1, "default": 0})
    assert values["concert-5"] == values.get("concert-5") == 1
    assert "concert-5" in values
    assert list(values) == ["concert-*", "default"]
    assert dict(values) == {"concert-*": 1, "default": 0}
    assert values.entry_of("concert-5") == "concert-*"


@pytest.mark.parametrize("room", ["concert-17", "cinema-1", "concert-vip-1"])
def test_a_room_with_an_entry_of_its_own_has_nothing_of_another_one(room: str) -> None:
    values = ByRoom(ENTRIES, {"concert-*": 1})
    assert room not in values
    assert values.get(room, 7) == 7
    with pytest.raises(KeyError):
        values[room]


@pytest.mark.parametrize(
    ("room", "may"), [("concert-1", True), ("concert-*", False), ("", False), ("a b", False)]
)
def test_an_entry_is_no_name_of_a_room(room: str, may: bool) -> None:
    assert may_be_made(room) is may


def test_names_that_clients_invent_are_not_remembered_without_end() -> None:
    entries = RoomEntries(["concert-*"])
    for number in range(10_000):
        assert entries.of(f"concert-{number}") == "concert-*"
    assert len(entries._known) <= 4096
