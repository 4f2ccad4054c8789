"""hold: keeping a lock that is one's own."""

from __future__ import annotations

from tests.waiting_room.rig import Rig


def test_a_lock_is_held_for_longer_by_its_holder_only(rig: Rig) -> None:
    lock = rig.keys.sweep_lock
    assert rig.raw("hold", lock, "mine", 5_000, key_count=1) == 0
    rig.client.set(lock, "mine", px=100)
    assert rig.raw("hold", lock, "yours", 5_000, key_count=1) == 0
    assert rig.client.pttl(lock) <= 100
    assert rig.raw("hold", lock, "mine", 5_000, key_count=1) == 1
    assert rig.client.pttl(lock) > 1_000
