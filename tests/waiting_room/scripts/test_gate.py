"""gate: a gated request of each of these users."""

from __future__ import annotations

from tests.waiting_room.rig import ALLOWED_IN, NONE, START, WAITING, Rig

SECOND = START // 1000


def test_an_admitted_user_passes_and_begins_a_whole_session_again(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.advance(7_300)
    assert rig.gate("ann") == [[ALLOWED_IN, 0, 0, 1, 10_000]]
    assert rig.activity() == {"ann": START + 7_300, "bob": START}
    assert rig.inside() == {"ann": str(SECOND + 7), "bob": str(SECOND)}
    rig.advance(9_999)
    assert rig.gate("ann")[0][0] == ALLOWED_IN


def test_a_waiting_user_is_refused_with_the_place_and_counts_as_seen(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.advance(1_000)
    assert rig.gate("cid") == [[WAITING, 1, 1, 1, 0]]
    assert rig.absent() == {"cid": START + 1_000}


def test_an_unknown_user_is_refused_and_not_recorded(rig: Rig) -> None:
    assert rig.gate("zoe") == [[NONE, 0, 0, 0, 0]]
    assert rig.absent() == {}
    assert rig.inside() == {}


def test_a_batch_is_answered_in_order_with_repeated_users(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    codes = [answer[0] for answer in rig.gate("cid", "ann", "zoe", "ann", "bob", "cid")]
    assert codes == [WAITING, ALLOWED_IN, NONE, ALLOWED_IN, ALLOWED_IN, WAITING]


def test_an_expired_session_is_refused_before_any_sweep_and_not_revived(rig: Rig) -> None:
    rig.lineup("ann")
    rig.advance(10_000)
    assert rig.gate("ann") == [[NONE, 0, 0, 0, 0]]
    assert rig.gate("ann") == [[NONE, 0, 0, 0, 0]]
    assert rig.sweep().expired == 1


def test_an_expired_session_of_a_user_in_line_is_refused_as_waiting(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, "ann", SECOND - 60)
    rig.client.zadd(rig.keys.line, {"ann": 7})
    assert rig.gate("ann")[0][:3] == [WAITING, 7, 1]


def test_a_user_in_hash_and_line_twice_in_a_batch_passes_twice_and_is_published_once(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, "ann", SECOND)
    rig.client.zadd(rig.keys.line, {"ann": 7})
    assert [answer[0] for answer in rig.gate("ann", "ann")] == [ALLOWED_IN, ALLOWED_IN]
    assert rig.events() == [("ADMITTED", "ann", 7)]
    assert rig.waiting() == []


def test_a_session_that_older_systems_know_only_is_renewed_in_the_index_too(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, "ann", SECOND - 3)
    assert rig.gate("ann")[0][0] == ALLOWED_IN
    assert rig.activity() == {"ann": START}


def test_a_paused_room_lets_those_inside_go_on(rig: Rig) -> None:
    rig.lineup("ann")
    rig.limits(paused=True)
    assert rig.gate("ann")[0][0] == ALLOWED_IN


def test_an_empty_batch_is_no_error(rig: Rig) -> None:
    assert rig.gate() == []


def test_256_users_pass_in_one_call_with_few_commands(rig: Rig) -> None:
    users = [f"u{n}" for n in range(256)]
    rig.limits(capacity=256)
    rig.lineup(*users)
    rig.client.config_resetstat()
    assert {answer[0] for answer in rig.gate(*users)} == {ALLOWED_IN}
    stats = rig.client.info("commandstats")
    assert all(entry["calls"] <= 12 for entry in stats.values())


def test_it_looks_how_old_sessions_are_only_for_those_who_are_refused(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.advance(2_000)
    assert rig.run("gate", "ann").summary.ages is None
    assert rig.run("gate", "ann", "cid").summary.ages == (2.0,) * 5
