"""status: where each user stands, and the room's own numbers."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import ALLOWED_IN, NONE, START, WAITING, Rig, fill

SECOND = START // 1000


def test_each_user_learns_where_they_stand(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan")
    rig.advance(1_500)
    assert rig.status("dan", "ann", "zoe", "cid", "dan") == [
        [WAITING, 2, 2, 2, 0],
        [ALLOWED_IN, 0, 0, 2, 8_500],
        [NONE, 0, 0, 2, 0],
        [WAITING, 1, 1, 2, 0],
        [WAITING, 2, 2, 2, 0],
    ]


def test_without_users_it_returns_the_rooms_numbers(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    reply = rig.run("status", "0")
    summary = reply.summary
    assert reply.answers == []
    assert (summary.waiting, summary.allowed_in, summary.capacity, summary.duration) == (1, 2, 2, 10.0)
    assert (summary.paused, summary.more, summary.now) == (False, False, START / 1000)


@pytest.mark.parametrize(("sighting", "seen"), [(True, START + 3_000), (False, START)])
def test_only_being_asked_by_the_user_is_a_sighting(rig: Rig, sighting: bool, seen: int) -> None:
    rig.limits(capacity=0)
    rig.lineup("ann")
    rig.advance(3_000)
    rig.status("ann", "zoe", sighting=sighting)
    assert rig.absent() == {"ann": seen}


def test_asking_changes_nothing_else(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    before = rig.everything()
    rig.status("ann", "bob", "cid", "zoe", sighting=False)
    assert rig.everything() == before
    assert rig.events() == []


def test_asking_about_a_room_that_was_never_used_writes_its_limits_only(rig: Rig) -> None:
    rig.status("ann")
    own = {key for key in rig.everything() if key != "test:now"}
    assert own == {rig.keys.settings}


def test_a_slot_freed_by_another_system_is_reported_for_the_sweep_to_fill(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.client.hdel(rig.keys.inside, "ann")
    assert rig.run("status", "0").summary.more
    assert rig.sweep().promoted == 1
    assert not rig.run("status", "0").summary.more


def test_a_user_in_hash_and_line_gets_the_rest_of_the_session(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, "ann", SECOND - 4)
    rig.client.zadd(rig.keys.line, {"ann": 7})
    assert rig.status("ann")[0] == [ALLOWED_IN, 0, 0, 0, 6_000]


def test_positions_of_256_users_among_many(rig: Rig) -> None:
    fill(rig, rig.keys.line, [(f"w{n:05}", n + 1) for n in range(20_000)], "zset")
    rig.limits(capacity=0)
    users = [f"w{n:05}" for n in range(0, 20_000, 79)][:256]
    answers = rig.status(*users, sighting=False)
    assert [answer[2] for answer in answers] == [int(user[1:]) + 1 for user in users]


def test_ages_of_sessions_are_read_once_for_all_calls_until_sessions_change(rig: Rig) -> None:
    """A sweep writes them, so that a status need not read them one by one."""

    def commands() -> int:
        rig.client.config_resetstat()
        ages.append(rig.run("status", 0, "cid").summary.ages)
        return rig.client.info("commandstats").get("cmdstat_zrange", {"calls": 0})["calls"]

    ages: list[tuple[float, ...] | None] = []
    rig.lineup("ann")
    rig.advance(2_000)
    rig.lineup("bob", "cid", "dan")
    rig.client.hdel(rig.keys.pace, "sessions")
    assert commands() == 5
    rig.sweep()
    rig.advance(1_500)
    assert commands() == 0
    rig.leave(("slot", "ann"))
    assert commands() == 0
    rig.advance(2_000)
    assert commands() == 0
    # No sweep for more than two seconds: perhaps an instance of an earlier version sweeps, which writes no ages.
    rig.advance(1)
    assert commands() == 5

    assert ages == [
        (2.0, 2.0, 0.0, 0.0, 0.0),
        (3.5, 3.5, 1.5, 1.5, 1.5),
        (1.5, 1.5, 0.0, 0.0, 0.0),
        (3.5, 3.5, 2.0, 2.0, 2.0),
        (3.501, 3.501, 2.001, 2.001, 2.001),
    ]


@pytest.mark.parametrize(
    "text", ["", "x", "1 2 3 4 5", "{now}", "{now} 1 2 3 4", "9{now} 1 2 3 4 5", "{now} 1 2 3 4 -5"]
)
def test_unusable_ages_are_read_anew(rig: Rig, text: str) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.advance(1_000)
    rig.client.hset(rig.keys.pace, "sessions", text.format(now=rig.now))
    assert rig.run("status", 0, "cid").summary.ages == (1.0,) * 5


def test_the_ages_are_gone_with_the_line(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.sweep()
    assert rig.client.hexists(rig.keys.pace, "sessions")
    rig.leave(("line", "cid"))
    rig.sweep()
    assert not rig.client.hexists(rig.keys.pace, "sessions")
    assert rig.run("status", 0, "ann").summary.ages == ()
