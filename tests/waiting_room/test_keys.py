"""Names of keys: the contract's three, and the rest under the room's hash tag."""

from __future__ import annotations

import pytest

from gateway.waiting_room.keys import RoomKeys

OWN = (
    "settings",
    "activity",
    "absent",
    "streams",
    "pace",
    "tally",
    "watch",
    "instances",
    "sweep_lock",
    "events",
)


@pytest.mark.parametrize("prefix", ["", "shop:", "{shop}:"])
def test_the_default_room_keeps_the_three_keys_of_older_systems(prefix: str) -> None:
    keys = RoomKeys(prefix, "default")
    assert (keys.line, keys.inside, keys.counter) == (
        f"{prefix}queue:wait",
        f"{prefix}allowedIn:users",
        f"{prefix}queue:counter",
    )


@pytest.mark.parametrize("prefix", ["", "shop:"])
@pytest.mark.parametrize("room", ["default", "vip"])
def test_all_others_begin_with_the_rooms_own_name(prefix: str, room: str) -> None:
    keys = RoomKeys(prefix, room)
    names = [getattr(keys, name) for name in OWN] + [keys.here("i1")]
    if room != "default":
        names += [keys.line, keys.inside, keys.counter]
    assert all(name.startswith(f"{prefix}gw:{{{room}}}:") for name in names)


def test_the_limits_are_where_the_contract_says() -> None:
    assert RoomKeys("", "vip").settings == "gw:{vip}:settings"


def test_no_two_keys_are_the_same() -> None:
    names = []
    for room in ("default", "vip"):
        keys = RoomKeys("", room)
        names += [*keys.common, keys.watch, keys.instances, keys.sweep_lock, keys.events]
        names += [keys.here("a"), keys.here("b")]
    assert len(set(names)) == len(names)
