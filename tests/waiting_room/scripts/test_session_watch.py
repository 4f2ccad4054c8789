"""sessions: which sessions these are, and nobody moves."""

from __future__ import annotations

from tests.waiting_room.rig import START, Rig


def sessions(rig: Rig, *users: str) -> list[str]:
    before = rig.everything()
    answers = rig.run("sessions", *users).answers
    assert rig.everything() == before
    assert rig.events() == []
    return answers


def test_each_session_has_a_moment_of_its_own(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.events()
    assert sessions(rig) == []
    assert sessions(rig, "ann", "bob", "cid", "zoe", "ann") == [str(START), str(START), "", "", str(START)]
    rig.advance(500)
    rig.gate("ann")
    assert sessions(rig, "ann") == [str(START)]
    rig.leave(("line", "cid"), ("slot", "ann"))
    rig.lineup("ann")
    rig.events()
    assert sessions(rig, "ann") == [str(START + 500)]


def test_a_session_that_has_expired_is_none_before_the_sweep_too(rig: Rig) -> None:
    rig.limits(duration=1000)
    rig.lineup("ann")
    rig.advance(1000)
    assert sessions(rig, "ann") == [""]


def test_an_absolute_end_counts(rig: Rig) -> None:
    rig.limits(duration=1000)
    rig.set_rules(max_session=1500)
    rig.lineup("ann")
    rig.advance(900)
    rig.gate("ann")
    assert sessions(rig, "ann") == [str(START)]
    rig.advance(600)
    assert sessions(rig, "ann") == [""]


def test_a_session_of_another_system_is_one(rig: Rig) -> None:
    rig.lineup("ann")
    rig.client.hset(rig.keys.inside, "old", START // 1000)
    rig.client.zadd(rig.keys.activity, {"old": START})
    assert sessions(rig, "old", "ann") == ["?", str(START)]
