"""``signing_keys``: each key is known for a turn before it signs, whoever brings keys and however late."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from tests.waiting_room.rig import SCRIPTS, START, Rig

KEY = "gw:signing-keys"
TURN, KEEP = 1000, 300
TEXT = SCRIPTS["signing_keys"].text


def call(rig: Rig, *fresh: str, turn: Any = TURN, keep: Any = KEEP) -> tuple[int, int, dict[str, Any]]:
    """Ids of ``fresh``, whose private keys are named alike. Returns now, how many are wanted, id → from, until."""
    pairs = [part for name in fresh for part in (name, f"private {name}")]
    now, wanted, *keys = rig.client.eval(TEXT, 1, KEY, turn, keep, *pairs)
    assert all(private == f"private {name}" for name, private, _, _ in keys)
    turns = {name: (int(begin) - START, int(end) - START) for name, _, begin, end in keys}
    return int(now) - START, wanted, turns


def test_without_keys_two_are_wanted_and_nothing_is_written(rig: Rig) -> None:
    assert call(rig) == (0, 2, {})
    assert rig.client.exists(KEY) == 0


def test_the_first_key_signs_at_once_and_the_second_after_a_turn(rig: Rig) -> None:
    assert call(rig, "a", "b") == (0, 0, {"a": (0, 1000), "b": (1000, 2000)})
    assert rig.client.pttl(KEY) > 0


def test_the_keys_of_the_first_instance_stand(rig: Rig) -> None:
    first = call(rig, "a", "b")
    assert call(rig, "c", "d") == first
    assert call(rig) == first


def test_the_next_key_is_wanted_as_soon_as_the_last_one_signs(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(999)
    assert call(rig)[1] == 0
    rig.advance(1)
    assert call(rig)[1] == 1
    assert call(rig, "c", "d")[1:] == (0, {"a": (0, 1000), "b": (1000, 2000), "c": (2000, 3000)})


def test_a_late_key_is_still_known_for_a_turn_before_it_signs(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(1600)
    # b signs on until c has been known for a turn.
    assert call(rig, "c") == (1600, 0, {"b": (1000, 2600), "c": (2600, 3600)})


def test_after_a_long_silence_a_known_key_signs_on(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(2200)
    assert call(rig, "c") == (2200, 0, {"b": (1000, 3200), "c": (3200, 4200)})


def test_after_a_silence_longer_than_keys_are_kept_all_begins_anew(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(2300)
    assert call(rig) == (2300, 2, {})


def test_a_key_is_kept_after_its_turn_and_then_removed(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(1000)
    call(rig, "c")
    rig.advance(299)
    assert "a" in call(rig)[2]
    rig.advance(1)
    assert list(call(rig)[2]) == ["b", "c"]
    assert rig.client.hkeys(KEY) == ["b", "c"] or set(rig.client.hkeys(KEY)) == {"b", "c"}


def test_another_turn_holds_from_the_next_key_on(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(1000)
    assert call(rig, "c", turn=5000)[2]["c"] == (6000, 11_000)


def test_a_clock_that_goes_back_removes_and_makes_nothing(rig: Rig) -> None:
    call(rig, "a", "b")
    rig.advance(-500_000)
    assert call(rig, "c", "d")[1:] == (0, {"a": (0, 1000), "b": (1000, 2000)})


def test_entries_that_are_none_are_removed(rig: Rig) -> None:
    rig.client.hset(KEY, mapping={"x": "soon later key", "y": "", "z": "-1 2 k"})
    assert call(rig) == (0, 2, {})
    assert rig.client.exists(KEY) == 0


@pytest.mark.parametrize(
    ("turn", "keep", "name"), [("x", 1, "turn_ms"), (0, 1, "turn_ms"), (1, -1, "keep_ms")]
)
def test_unusable_arguments_are_refused(turn: Any, keep: Any, name: str, rig: Rig) -> None:
    with pytest.raises(ResponseError, match=f"BAD_ARGUMENT {name}"):
        call(rig, "a", "b", turn=turn, keep=keep)


def test_a_key_of_another_type_is_left_alone(rig: Rig) -> None:
    rig.client.set(KEY, "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        call(rig, "a", "b")
    assert rig.client.get(KEY) == "x"


def test_keys_are_made_also_at_maxmemory(rig: Rig) -> None:
    rig.set_memory_full(True)
    try:
        assert call(rig, "a", "b")[1] == 0
    finally:
        rig.set_memory_full(False)


def test_times_of_this_century_are_exact(client: redis.Redis) -> None:
    rig = Rig(client)
    rig.set_clock(START + 7)
    assert call(rig, "a", "b")[2]["b"] == (1007, 2007)
    rig.close()
