"""When a session ends: what the hash and the index say, and which of them counts. Asked through status."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import ADMITTED, ALLOWED_IN, NONE, NOTHING, SLOT, START, WAITING, Rig

SECOND = START // 1000


@pytest.mark.parametrize(("age", "live"), [(0, True), (9_999, True), (10_000, False), (10_001, False)])
def test_every_script_ends_a_session_at_the_same_millisecond(rig: Rig, age: int, live: bool) -> None:
    rig.advance(357)
    everybody = ["gate", "status", "leaver", "liner", "swept"]
    rig.limits(capacity=5)
    rig.lineup(*everybody)
    rig.advance(age)
    assert rig.status("status")[0] == ([ALLOWED_IN, 0, 0, 0, 10_000 - age] if live else [NONE, 0, 0, 0, 0])
    assert rig.gate("gate")[0][0] == (ALLOWED_IN if live else NONE)
    assert rig.leave(("slot", "leaver")) == [SLOT if live else NOTHING]
    assert rig.lineup("liner")[0][0] == (ALLOWED_IN if live else ADMITTED)
    rig.sweep()
    assert ("swept" in rig.inside()) is live


@pytest.mark.parametrize(
    ("hash_says", "index_says", "left"),
    [
        pytest.param(-3, None, 7_000, id="no index: the hash's second"),
        pytest.param(-3, -2_400, 7_600, id="same second: the index is finer"),
        pytest.param(-3, -1_000, 9_000, id="index newer: the index"),
        pytest.param(-3, -9_000, 7_000, id="hash newer: the hash"),
        pytest.param(5, None, 10_000, id="a clock ahead, no index: now"),
        pytest.param(1, -9_000, 10_000, id="a clock ahead, index older: the hash is newer, so now"),
        pytest.param(-9, 3_000, 10_000, id="index in the future: now"),
        pytest.param("x", -4_000, 6_000, id="hash unusable: the index"),
        pytest.param("x", None, 10_000, id="nothing usable: now"),
    ],
)
@pytest.mark.parametrize("script", ["status", "gate", "sweep", "lineup", "leave"])
def test_the_later_of_hash_and_index_counts(
    rig: Rig, script: str, hash_says: int | str, index_says: int | None, left: int
) -> None:
    second = hash_says if isinstance(hash_says, str) else SECOND + hash_says
    rig.client.hset(rig.keys.inside, "ann", second)
    if index_says is not None:
        rig.client.zadd(rig.keys.activity, {"ann": START + index_says})
    # Whether another script looked (and put right) meanwhile makes no difference.
    if script == "sweep":
        rig.sweep()
    elif script == "lineup":
        assert rig.lineup("ann")[0] == [ALLOWED_IN, 0, 0, 0, left]
    elif script == "leave":
        assert rig.leave(("line", "ann")) == [NOTHING]
    elif script == "gate":
        rig.advance(left - 1)
        assert rig.gate("ann")[0] == [ALLOWED_IN, 0, 0, 0, 10_000]
        assert rig.activity()["ann"] == rig.now
        assert rig.inside()["ann"] == str(rig.now // 1000)
        return
    assert rig.status("ann")[0] == [ALLOWED_IN, 0, 0, 0, left]
    rig.advance(left - 1)
    assert rig.status("ann")[0] == [ALLOWED_IN, 0, 0, 0, 1]
    rig.advance(1)
    assert rig.status("ann")[0] == [NONE, 0, 0, 0, 0]
    rig.sweep()
    assert rig.inside() == {}
    assert rig.activity() == {}


def test_a_user_who_is_only_in_the_index_is_not_allowed_in(rig: Rig) -> None:
    rig.client.zadd(rig.keys.activity, {"ann": START})
    assert rig.status("ann")[0][0] == NONE
    assert rig.gate("ann")[0][0] == NONE
    assert rig.lineup("ann")[0][0] == ADMITTED


def test_an_index_without_its_user_is_swept_away_in_time(rig: Rig) -> None:
    rig.client.zadd(rig.keys.activity, {"ann": START})
    rig.advance(10_000)
    summary = rig.sweep()
    assert (summary.expired, rig.activity()) == (0, {})


@pytest.mark.parametrize("script", ["status", "gate", "lineup", "sweep", "leave"])
def test_a_user_in_hash_and_line_is_allowed_in_and_removed_from_the_line(rig: Rig, script: str) -> None:
    rig.client.hset(rig.keys.inside, "ann", SECOND)
    rig.client.zadd(rig.keys.line, {"ann": 7})
    rig.limits(paused=True)
    rig.events()
    if script == "sweep":
        rig.sweep()
    elif script == "leave":
        assert rig.leave(("line", "ann")) == [NOTHING]
    else:
        args = {"status": ["1"], "gate": [], "lineup": []}[script]
        assert rig.run(script, *args, "ann").answers[0][0] == ALLOWED_IN
    assert rig.waiting() == []
    assert rig.events() == [("ADMITTED", "ann", 7)]
    assert rig.tally() == {"promoted": 1}


@pytest.mark.parametrize("capacity", [1, 3])
def test_an_expired_session_in_the_line_is_begun_anew_by_promotion_only(rig: Rig, capacity: int) -> None:
    rig.client.hset(rig.keys.inside, mapping={"ann": SECOND - 60, "bob": SECOND})
    rig.client.zadd(rig.keys.line, {"ann": 7})
    assert rig.status("ann")[0][:3] == [WAITING, 7, 1]
    summary = rig.limits(capacity=capacity)
    assert ("ann" in rig.waiting()) is (capacity == 1)
    assert summary.allowed_in == 2
    assert rig.gate("ann")[0][0] == (WAITING if capacity == 1 else ALLOWED_IN)
    # Each change is in the history and in the totals.
    assert [entry[1] for entry in rig.history("ann")] == ([] if capacity == 1 else ["EXPIRED", "PROMOTED"])
    assert rig.tally().get("expired", 0) == (0 if capacity == 1 else 1)
