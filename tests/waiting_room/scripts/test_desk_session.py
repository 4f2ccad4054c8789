"""Sessions of the operator's desk: found until their end, and bounded."""

from __future__ import annotations

from tests.waiting_room.rig import Rig

KEYS = ("gw:{desk}:sessions", "gw:{desk}:ends")


def run(rig: Rig, act: str, session: str, record: str = "", for_ms: object = "") -> list[object]:
    found: list[object] = rig.raw("desk_session", *KEYS, act, session, record, for_ms, key_count=2)
    return found


def test_a_session_is_found_until_its_end(rig: Rig) -> None:
    assert run(rig, "begin", "one", "proof anna", 10_000) == ["proof anna", 10_000]
    rig.advance(4_000)
    assert run(rig, "find", "one") == ["proof anna", 6_000]
    assert run(rig, "find", "other") == ["", 0]
    rig.advance(6_000)
    assert run(rig, "find", "one") == ["", 0]


def test_a_session_that_was_ended_is_not_found(rig: Rig) -> None:
    run(rig, "begin", "one", "p anna", 10_000)
    run(rig, "begin", "two", "p bob", 10_000)
    assert run(rig, "end", "one") == ["", 0]
    assert run(rig, "find", "one") == ["", 0]
    assert run(rig, "find", "two")[0] == "p bob"


def test_there_are_at_most_a_thousand_and_the_next_to_end_goes_first(rig: Rig) -> None:
    for at in range(1_000):
        run(rig, "begin", f"s{at}", f"p anna{at % 10}", 100_000 + at)
    run(rig, "begin", "new", "p bob", 50_000)
    assert [run(rig, "find", session)[0] for session in ("s0", "s1", "new")] == ["", "p anna1", "p bob"]
    assert [rig.client.hlen(KEYS[0]), rig.client.zcard(KEYS[1])] == [1_000, 1_000]


def test_an_operator_who_signs_in_again_and_again_signs_nobody_else_out(rig: Rig) -> None:
    run(rig, "begin", "other", "p anna", 1_000)
    for at in range(101):
        run(rig, "begin", f"s{at}", "p bob, who looks", 100_000 + at)
    assert [run(rig, "find", session)[0] for session in ("other", "s0", "s1")] == [
        "p anna",
        "",
        "p bob, who looks",
    ]
    assert rig.client.hlen(KEYS[0]) == rig.client.zcard(KEYS[1]) == 101


def test_ended_sessions_make_way(rig: Rig) -> None:
    for at in range(10):
        run(rig, "begin", f"s{at}", "p anna", 1_000)
    rig.advance(2_000)
    run(rig, "begin", "new", "p anna", 1_000)
    assert rig.client.hkeys(KEYS[0]) == rig.client.zrange(KEYS[1], 0, -1) == ["new"]


def test_an_operator_can_sign_in_and_out_at_maxmemory(rig: Rig) -> None:
    rig.set_memory_full(True)
    try:
        assert run(rig, "begin", "one", "p anna", 10_000) == ["p anna", 10_000]
        assert run(rig, "find", "one")[0] == "p anna"
        run(rig, "end", "one")
        assert run(rig, "find", "one") == ["", 0]
    finally:
        rig.set_memory_full(False)
