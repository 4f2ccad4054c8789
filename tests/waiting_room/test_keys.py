"""Names of keys: those of older systems for the default room, a hash tag for every other."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from redis.crc import key_slot

from gateway.errors import SettingsError
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.rooms import check_prefix_for_cluster


def test_the_default_room_keeps_the_keys_of_older_systems() -> None:
    keys = RoomKeys("", "default")
    assert (keys.line, keys.inside, keys.counter) == ("queue:wait", "allowedIn:users", "queue:counter")
    assert keys.settings == "gw:{default}:settings"


def test_the_prefix_stands_before_every_key() -> None:
    keys = RoomKeys("shop:", "default")
    assert all(key.startswith("shop:") for key in keys.common)
    assert keys.events.startswith("shop:")
    assert keys.here("a") == "shop:gw:{default}:here:a"


def test_all_keys_of_another_room_share_its_hash_tag() -> None:
    keys = RoomKeys("", "vip")
    every = (*keys.common, keys.watch, keys.instances, keys.sweep_lock, keys.mark, keys.here("a"))
    assert all(key.startswith("gw:{vip}:") for key in every)


@pytest.mark.parametrize(
    ("prefix", "slots"), [("", 2), ("shop:", 2), ("{gw}:", 1), ("a{gw}b", 1), ("a}{gw}:", 1), ("{:", 2)]
)
def test_in_a_cluster_each_room_is_in_one_slot_and_a_tag_in_the_prefix_keeps_all_in_one(
    prefix: str, slots: int
) -> None:
    rooms = [RoomKeys(prefix, room, cluster=True) for room in ("default", "vip")]
    of_rooms = [
        {key_slot(key.encode()) for key in (*keys.common, keys.watch, keys.mark, keys.here("a"), keys.audit)}
        for keys in rooms
    ]
    assert [len(of_room) for of_room in of_rooms] == [1, 1]
    assert len(set.union(*of_rooms)) == slots


def test_in_a_cluster_the_old_names_stay_only_with_a_tag_in_the_prefix() -> None:
    alone = RoomKeys("", "default", cluster=True)
    assert (alone.line, alone.inside, alone.counter) == (
        "gw:{default}:line",
        "gw:{default}:inside",
        "gw:{default}:counter",
    )
    tagged = RoomKeys("{gw}:", "default", cluster=True)
    assert (tagged.line, tagged.inside, tagged.counter) == (
        "{gw}:queue:wait",
        "{gw}:allowedIn:users",
        "{gw}:queue:counter",
    )
    shared = [keys.shared for keys in (RoomKeys("", "default"), alone, tagged, RoomKeys("", "vip"))]
    assert shared == [True, False, False, False]


@pytest.mark.parametrize(
    ("prefix", "one_node", "allowed"),
    [
        ("", False, True),
        ("gw:", False, True),
        ("{gw}:", False, True),
        ("{}:", False, False),
        ("a{}b{c}:", False, False),
        ("", True, False),
        ("gw:", True, False),
        ("{gw}:", True, True),
        ("{}:", True, False),
    ],
)
def test_a_prefix_that_scatters_a_room_is_refused(prefix: str, one_node: bool, allowed: bool) -> None:
    with nullcontext() if allowed else pytest.raises(SettingsError, match="a prefix with"):
        check_prefix_for_cluster(prefix, one_node=one_node)


def test_no_two_keys_are_the_same() -> None:
    for room in ("default", "vip"):
        keys = RoomKeys("", room)
        every = (
            *keys.common,
            keys.watch,
            keys.instances,
            keys.sweep_lock,
            keys.mark,
            keys.events,
            keys.here("a"),
        )
        assert len(set(every)) == len(every)
