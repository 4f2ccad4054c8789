"""Names of keys: those of older systems for the default room, a hash tag for every other."""

from __future__ import annotations

from gateway.waiting_room.keys import RoomKeys


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
