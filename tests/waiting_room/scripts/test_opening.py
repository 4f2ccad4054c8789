"""Opening times, the pre-queue, and the opening step by step."""

from __future__ import annotations

import pytest
import redis

from tests.waiting_room.rig import (
    ADMITTED,
    ALLOWED_IN,
    CLOSED,
    NONE,
    NOT_ELIGIBLE,
    PLACE,
    REGISTERED,
    ROOM_FULL,
    START,
    TOO_MANY_LINEUPS,
    UNPREPARED,
    WAITING,
    Rig,
)

OPENS = START + 60_000
FROM = OPENS - 30_000
NO_DRAW, ACCEPTED, TOO_EARLY, KNOWN = range(4)


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """It opens after a minute, and users register from half a minute before."""
    rig.set_rules(opens_at=OPENS, prequeue=30_000)
    return rig


def gather(rig: Rig, *users: str, order: str = "arrival", beacon: str = "") -> None:
    """The pre-queue has begun, and these users have registered."""
    rig.set_clock(max(rig.now, FROM))
    rig.gather(order, beacon)
    if users:
        rig.lineup(*users)


def close(rig: Rig) -> None:
    rig.set_clock(max(rig.now, OPENS))
    rig.sweep()


def code_of(rig: Rig, user: str) -> int:
    return int(rig.status(user)[0][0])


# -- before the opening --------------------------------------------------------------------------------


def test_before_the_pre_queue_the_room_is_closed_and_says_when_it_opens(rig: Rig) -> None:
    assert rig.lineup("ann") == [[CLOSED, 0, 0, 0, 0, OPENS, FROM]]
    assert code_of(rig, "ann") == NONE
    assert rig.gate("ann")[0][0] == NONE
    assert (rig.line(), rig.registered()) == ([], [])


def test_without_a_pre_queue_it_is_closed_until_the_moment_itself(rig: Rig) -> None:
    rig.set_rules(prequeue=0)
    rig.set_clock(OPENS - 1)
    assert rig.lineup("ann") == [[CLOSED, 0, 0, 0, 0, OPENS]]
    rig.set_clock(OPENS)
    assert rig.lineup("ann")[0][0] == ADMITTED


def test_those_in_line_and_inside_stay_while_the_room_is_closed(rig: Rig) -> None:
    rig.set_rules(opens_at=0)
    rig.lineup("ann", "bob", "cid")
    rig.set_rules(opens_at=OPENS)
    assert rig.gate("ann")[0][0] == ALLOWED_IN
    assert rig.lineup("ann")[0][0] == ALLOWED_IN
    assert rig.lineup("cid", relineup="keep")[0][0] == WAITING
    rig.leave(("both", "ann"))
    assert code_of(rig, "cid") == ALLOWED_IN


def test_a_lineup_that_finds_no_pre_queue_begun_asks_for_it(rig: Rig) -> None:
    rig.set_clock(FROM)
    assert rig.lineup("ann") == [[UNPREPARED, 0, 0, 0, 0]]
    assert rig.registered() == []
    rig.gather()
    assert rig.lineup("ann") == [[REGISTERED, 0, 0, 1, 0, OPENS, ""]]


def test_a_pre_queue_does_not_begin_too_early_and_begins_once(rig: Rig) -> None:
    rig.set_clock(FROM - 1)
    rig.gather("draw")
    assert rig.opening().phase == ""
    rig.set_clock(FROM)
    rig.gather("draw", salt_key="01" * 32)
    rig.lineup("ann")
    rig.gather("arrival", salt_key="02" * 32)
    assert rig.registered() == ["ann"]
    assert rig.client.hget(rig.keys.draw, "order") == "draw"
    assert rig.lineup("bob")[0][6] == "01" * 32


def test_a_registered_user_is_nowhere_else_and_is_shown_everywhere(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    for answer in (*rig.status("ann"), *rig.gate("ann")):
        assert answer == [REGISTERED, 0, 0, 2, 0, OPENS]
    assert rig.run("find", "ann").answers[0] == "REGISTERED"
    assert (rig.line(), rig.inside(), rig.absent(), rig.parked()) == ([], {}, {}, {})


def test_lining_up_again_keeps_the_registration(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    rig.lineup("ann")
    assert rig.registered() == ["ann", "bob"]
    assert rig.tally()["registrations"] == 2


def test_leaving_ends_the_registration(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    assert rig.leave(("line", "ann"), ("slot", "bob"), ("both", "bob"), ("both", "bob")) == [
        PLACE,
        0,
        PLACE,
        0,
    ]
    assert rig.events() == [("LEFT", "ann", 0), ("LEFT", "bob", 0)]
    assert rig.registered() == []
    assert code_of(rig, "ann") == NONE


def test_an_operator_removes_a_registered_user_and_the_audit_says_from_where(rig: Rig) -> None:
    gather(rig, "ann")
    assert rig.leave(("both", "ann"), reason="OPERATOR") == [PLACE]
    ((_, entry),) = rig.client.xrange(rig.keys.audit)
    assert (entry["from"], entry["to"]) == ("REGISTERED", "NONE")


def test_registered_users_are_never_absent(rig: Rig) -> None:
    rig.set_rules(opens_at=START + 3_600_000, prequeue=3_600_000)
    rig.gather()
    rig.lineup("ann")
    for _ in range(30):
        rig.advance(60_000)
        rig.sweep()
    assert code_of(rig, "ann") == REGISTERED


def test_users_inside_stay_inside_and_are_not_registered(rig: Rig) -> None:
    rig.set_rules(opens_at=0, prequeue=0)
    rig.lineup("ann")
    rig.set_rules(opens_at=START + 5_000, prequeue=5_000)
    rig.gather()
    assert rig.lineup("ann")[0][0] == ALLOWED_IN
    assert rig.registered() == []


def test_the_moment_can_be_moved_before_the_opening(rig: Rig) -> None:
    gather(rig, "ann")
    rig.limits(rules=f"opens_at={OPENS + 600_000}")
    close(rig)
    assert rig.status("ann") == [[REGISTERED, 0, 0, 1, 0, OPENS + 600_000]]
    assert rig.lineup("bob")[0][0] == REGISTERED
    rig.limits(rules=f"opens_at={rig.now}")
    rig.sweep()
    assert rig.opening().phase == "closed"


def test_without_a_moment_any_more_the_room_opens_at_once(rig: Rig) -> None:
    gather(rig, "ann")
    rig.limits(rules="opens_at=0")
    rig.sweep()
    rig.rank()
    rig.place(0, "ann")
    assert code_of(rig, "ann") == ALLOWED_IN


def test_the_summary_says_what_there_is_to_do(rig: Rig) -> None:
    opening = rig.sweep().opening
    assert opening == ("", "closed", OPENS, 0, 0, 30.0)
    rig.set_clock(FROM)
    opening = rig.sweep().opening
    assert opening is not None
    assert opening.wants_work
    gather(rig, "ann")
    assert rig.sweep().opening == ("gathering", "gather", OPENS, 0, 1, 30.0)
    close(rig)
    opening = rig.sweep().opening
    assert opening == ("closed", "open", OPENS, 0, 1, 0.0)
    assert opening.wants_work


def test_a_room_without_opening_times_says_nothing_of_them(rig: Rig) -> None:
    rig.set_rules(opens_at=0, prequeue=0)
    assert rig.sweep().opening is None


# -- without a moment ----------------------------------------------------------------------------------


def without_its_moment(rig: Rig) -> None:
    """An instance starts with a route file of earlier, which has no opening time."""
    rig.rules = ""
    rig.configure(rig.capacity, rig.duration)


def test_an_instance_without_the_moment_does_not_open_a_room_that_gathers(rig: Rig) -> None:
    gather(rig, "ann")
    without_its_moment(rig)
    close(rig)
    assert rig.lineup("bob") == [[REGISTERED, 0, 0, 2, 0, 0, ""]]
    assert rig.status("ann") == [[REGISTERED, 0, 0, 2, 0, 0]]
    assert rig.sweep().opening == ("gathering", "gather", 0, 0, 2, 0.0)
    rig.set_rules(opens_at=OPENS + 60_000, prequeue=30_000)
    close(rig)
    assert rig.opening().phase == "gathering"
    rig.set_clock(OPENS + 60_000)
    close(rig)
    assert rig.opening() == ("closed", OPENS + 60_000, 0, 2, 0, 0)


def test_an_operator_opens_a_room_that_gathers_at_once(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    without_its_moment(rig)
    rig.limits(rules="opens_at=0")
    rig.sweep()
    assert rig.opening() == ("closed", 0, 0, 2, 0, 0)


@pytest.mark.parametrize("declared", ["", f"opens_at={START + 1}"], ids=["without a moment", "a moment past"])
def test_a_lift_leaves_the_moment_of_a_room_that_gathers(rig: Rig, declared: str) -> None:
    rig.rules = declared
    rig.configure(rig.capacity, rig.duration)
    rig.limits(rules=f"opens_at={OPENS} max_waiting=5")
    rig.rules = f"{declared} prequeue=30000".strip()
    rig.configure(rig.capacity, rig.duration)
    gather(rig, "ann")
    rig.limits(lift=True)
    assert rig.sweep().opening == ("gathering", "gather", OPENS, 0, 1, 30.0)
    assert rig.client.hget(rig.keys.settings, "operator_rules") == f"opens_at={OPENS}"
    close(rig)
    assert rig.opening().value == OPENS
    rig.rank()
    rig.place(0, "ann")
    rig.limits(lift=True)
    assert rig.client.hget(rig.keys.settings, "operator_rules") == ""


def test_without_the_operators_moment_a_room_that_gathers_waits_for_another_one(rig: Rig) -> None:
    rig.rules = "prequeue=30000"
    rig.configure(rig.capacity, rig.duration)
    rig.limits(rules=f"opens_at={OPENS}")
    gather(rig, "ann")
    rig.limits(rules="opens_at=")
    close(rig)
    assert rig.opening().phase == "gathering"
    assert rig.status("ann")[0][:1] == [REGISTERED]


# -- closes_at -----------------------------------------------------------------------------------------


def test_from_closes_at_on_lineups_are_refused_and_the_line_stays(rig: Rig) -> None:
    rig.set_rules(opens_at=0, prequeue=0, closes_at=START + 1_000)
    rig.lineup("ann", "bob", "cid")
    rig.set_clock(START + 1_000)
    assert rig.lineup("dan") == [[CLOSED, 0, 0, 1, 0, 0]]
    assert code_of(rig, "cid") == WAITING
    assert rig.lineup("cid")[0][0] == WAITING
    rig.leave(("slot", "ann"))
    assert code_of(rig, "cid") == ALLOWED_IN


def test_a_later_opening_follows_an_earlier_closing(rig: Rig) -> None:
    rig.set_rules(opens_at=START + 2_000, prequeue=0, closes_at=START + 1_000)
    rig.set_clock(START + 1_500)
    assert rig.lineup("dan") == [[CLOSED, 0, 0, 0, 0, START + 2_000]]
    rig.set_clock(START + 2_000)
    assert rig.lineup("dan")[0][0] == ADMITTED


# -- the opening ---------------------------------------------------------------------------------------


def test_the_first_lineup_after_the_moment_closes_the_pre_queue_and_gets_a_ticket_behind(rig: Rig) -> None:
    gather(rig, "ann", "bob", "cid")
    rig.set_clock(OPENS)
    assert rig.lineup("dan") == [[WAITING, 4, 4, 4, 0]]
    assert rig.opening() == ("closed", OPENS, 0, 3, 0, 0)
    assert rig.registered() == ["ann", "bob", "cid"]


def test_nobody_has_a_position_and_nobody_is_admitted_until_all_are_placed(rig: Rig) -> None:
    gather(rig, "ann", "bob", "cid")
    close(rig)
    rig.rank()
    assert rig.place(0, "cid", "ann") == 2
    for user in ("ann", "bob", "cid"):
        assert rig.status(user) == [[REGISTERED, 0, 0, 1, 0, OPENS]]
    assert rig.sweep().registered == 1
    assert rig.lineup("dan") == [[WAITING, 4, 4, 4, 0]]
    assert rig.sweep().paused
    assert (rig.inside(), rig.events()) == ({}, [])
    assert rig.place(2, "bob") == 3
    assert rig.events() == [("ADMITTED", "cid", 1), ("ADMITTED", "ann", 2)]
    assert rig.line() == [("bob", 3.0), ("dan", 4.0)]
    assert rig.status("bob")[0][:4] == [WAITING, 3, 1, 2]
    assert rig.registered() == []
    assert rig.opening().phase == "open"


def test_the_line_of_before_stays_ahead_and_is_not_admitted_meanwhile(rig: Rig) -> None:
    rig.set_rules(opens_at=0, prequeue=0, absent=0)
    rig.limits(duration=10_000_000)
    rig.lineup("ann", "bob", "cid")
    rig.set_rules(opens_at=OPENS, prequeue=30_000)
    gather(rig, "dan", "eve")
    close(rig)
    assert rig.opening().base == 1
    rig.leave(("slot", "ann"))
    assert rig.status("cid")[0] == [WAITING, 1, 1, 3, 0]
    rig.rank()
    rig.place(0, "eve", "dan")
    assert [user for _, user, _ in rig.events()] == ["cid"]
    assert rig.line() == [("eve", 2.0), ("dan", 3.0)]


def test_a_step_counts_only_where_the_last_one_ended(rig: Rig) -> None:
    gather(rig, "ann", "bob", "cid")
    close(rig)
    assert rig.place(0, "ann") == -1
    rig.rank()
    assert rig.place(0, "ann") == 1
    before = rig.everything()
    assert rig.place(0, "ann") == 1
    assert rig.place(2, "cid") == 1
    assert rig.place(1, "bob", digest="another") == -1
    assert rig.place(1, "bob", value=OPENS + 1) == -1
    assert rig.everything() == before
    assert rig.place(1, "bob", "cid") == 3
    assert rig.place(1, "bob", "cid") == -1
    assert rig.tally()["lineups"] == 3


def test_ranks_count_only_for_the_opening_that_was_read(rig: Rig) -> None:
    gather(rig, "ann", order="draw")
    assert rig.rank("aa", "d") is False
    close(rig)
    assert rig.rank("aa", "d", value=OPENS + 1) is False
    assert rig.rank("aa", "d") is True
    assert rig.rank("aa", "e") is False
    assert rig.client.hmget(rig.keys.draw, "root", "digest") == ["aa", "d"]


def test_another_root_is_refused(rig: Rig) -> None:
    gather(rig, "ann", order="draw", beacon="a lottery")
    close(rig)
    rig.rank("aa", "")
    rig.beacon("7")
    with pytest.raises(redis.ResponseError, match="DRAW_DIFFERS aa"):
        rig.rank("bb", "d")


def test_a_user_who_leaves_after_the_close_is_not_placed_and_no_ticket_is_given(rig: Rig) -> None:
    rig.limits(capacity=0)
    gather(rig, "ann", "bob", "cid", "dan")
    close(rig)
    assert rig.leave(("line", "bob")) == [PLACE]
    assert rig.leave(("line", "bob")) == [0]
    assert code_of(rig, "bob") == NONE
    rig.rank()
    rig.place(0, "ann", "bob", "cid")
    assert rig.leave(("line", "cid")) == [PLACE]
    assert code_of(rig, "cid") == NONE
    assert rig.status("ann")[0][3] == 1
    rig.place(3, "dan")
    assert rig.line() == [("ann", 1.0), ("dan", 4.0)]


def test_a_user_who_left_after_the_close_may_line_up_again_behind(rig: Rig) -> None:
    rig.limits(capacity=0)
    gather(rig, "ann", "bob")
    close(rig)
    rig.leave(("line", "ann"))
    assert rig.lineup("ann")[0][:2] == [WAITING, 3]
    rig.rank()
    rig.place(0, "ann", "bob")
    assert rig.line() == [("bob", 2.0), ("ann", 3.0)]


def test_the_room_opens_once_for_each_moment(rig: Rig) -> None:
    gather(rig, "ann")
    close(rig)
    rig.rank()
    rig.place(0, "ann")
    rig.advance(5)
    assert rig.gather().opening == ("open", "open", OPENS, 0, 0, 0.0)
    later = OPENS + 86_400_000
    rig.limits(rules=f"opens_at={later}")
    assert rig.lineup("bob") == [[CLOSED, 0, 0, 0, 0, later, later - 30_000]]
    rig.set_clock(later - 30_000)
    rig.gather()
    assert rig.lineup("bob")[0][0] == REGISTERED
    rig.set_clock(later)
    rig.sweep()
    rig.rank()
    rig.place(0, "bob")
    assert code_of(rig, "bob") == ALLOWED_IN


def test_an_empty_pre_queue_opens(rig: Rig) -> None:
    gather(rig)
    close(rig)
    rig.rank()
    assert rig.place(0) == 0
    assert rig.opening().phase == "open"
    assert rig.lineup("ann")[0][0] == ADMITTED


def test_a_moment_that_is_moved_during_the_opening_counts_after_it(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    close(rig)
    rig.limits(rules=f"opens_at={OPENS + 600_000}")
    assert rig.lineup("cid")[0][:2] == [WAITING, 3]
    rig.rank()
    rig.place(0, "ann", "bob")
    assert code_of(rig, "ann") == ALLOWED_IN
    assert rig.lineup("dan") == [[CLOSED, 0, 0, 1, 0, OPENS + 600_000, OPENS + 570_000]]


def test_a_pause_of_an_operator_outlasts_the_opening(rig: Rig) -> None:
    gather(rig, "ann")
    close(rig)
    rig.limits(paused=True)
    rig.rank()
    rig.place(0, "ann")
    assert code_of(rig, "ann") == WAITING
    rig.limits(paused=False)
    assert code_of(rig, "ann") == ALLOWED_IN


def test_resuming_during_the_opening_admits_nobody(rig: Rig) -> None:
    rig.limits(paused=True)
    gather(rig, "ann")
    close(rig)
    rig.lineup("bob")
    rig.limits(paused=False)
    assert rig.inside() == {}
    rig.rank()
    rig.place(0, "ann")
    assert set(rig.inside()) == {"ann", "bob"}


def test_placed_users_count_as_seen_at_the_opening(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.sweep()
    gather(rig, "ann", "bob")
    close(rig)
    rig.rank()
    rig.place(0, "ann")
    for _ in range(130):
        rig.advance(1_000)
        rig.sweep()
    assert rig.parked() == {}
    rig.place(1, "bob")
    rig.advance(1_000)
    for _ in range(58):
        rig.sweep()
        rig.advance(1_000)
    assert rig.waiting() == ["ann", "bob"]
    for _ in range(3):
        rig.sweep()
        rig.advance(1_000)
    assert set(rig.parked()) == {"ann", "bob"}


def test_an_opening_finishes_at_the_limit_of_memory(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    rig.set_clock(OPENS)
    rig.set_memory_full(True)
    try:
        assert rig.lineup("cid")[0][0] not in {WAITING, REGISTERED}
        rig.sweep()
        rig.rank()
        rig.place(0, "bob", "ann")
    finally:
        rig.set_memory_full(False)
    assert set(rig.inside()) == {"ann", "bob"}


# -- the draw ------------------------------------------------------------------------------------------


def test_entries_are_published_by_rank_and_kept_for_a_while(rig: Rig) -> None:
    gather(rig, "ann", "bob", "cid", order="draw")
    close(rig)
    rig.rank("aa", "d")
    entries = [bytes([one]) * 32 for one in (1, 2, 3)]
    rig.place(0, "bob", "ann", digest="d", entries=entries[:2])
    rig.place(2, "cid", digest="d", entries=entries[2:])
    assert rig.client.get(rig.keys.drawn) == b"".join(entries).decode()
    assert 0 < rig.client.ttl(rig.keys.drawn) <= 60
    assert 0 < rig.client.ttl(rig.keys.draw) <= 60


def test_with_a_beacon_the_opening_waits_for_its_value_which_is_accepted_once(rig: Rig) -> None:
    assert rig.beacon("7") == NO_DRAW
    gather(rig, "ann", order="draw", beacon="a lottery")
    assert rig.beacon("7") == TOO_EARLY
    close(rig)
    assert rig.beacon("7") == TOO_EARLY
    assert rig.rank("aa", "") is True
    assert rig.opening().phase == "awaiting"
    assert not rig.sweep().opening.wants_work  # type: ignore[union-attr]
    assert rig.place(0, "ann", digest="") == -1
    assert rig.beacon("7") == ACCEPTED
    assert rig.beacon("8") == KNOWN
    assert rig.client.hget(rig.keys.draw, "beacon") == "7"
    assert rig.opening().phase == "closed"
    ((_, entry),) = rig.client.xrange(rig.keys.audit)
    assert (entry["act"], entry["to"], entry["by"]) == ("beacon", "7", "anna")
    rig.rank("aa", "d")
    rig.place(0, "ann", digest="d", entries=[bytes(32)])
    assert code_of(rig, "ann") == ALLOWED_IN
    assert rig.beacon("8") == KNOWN


def test_there_is_no_beacon_in_an_opening_by_arrival_or_in_a_draw_without_one(rig: Rig) -> None:
    gather(rig, "ann", order="draw")
    close(rig)
    assert rig.beacon("7") == NO_DRAW


def test_a_new_pre_queue_drops_what_was_published(rig: Rig) -> None:
    gather(rig, "ann", order="draw")
    close(rig)
    rig.rank("aa", "d")
    rig.place(0, "ann", digest="d", entries=[bytes(32)])
    rig.limits(rules=f"opens_at={OPENS + 20_000}")
    rig.gather("arrival")
    assert rig.client.hgetall(rig.keys.draw) == {"order": "arrival"}
    assert rig.client.exists(rig.keys.drawn) == 0
    assert rig.client.ttl(rig.keys.draw) == -1


NOTHING_MOVED, MOVED, LATER = range(3)


def test_a_registration_moves_with_its_number_until_the_close(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    assert rig.run("move", "ann", "new").answers == [MOVED, [REGISTERED, 0, 0, 2, 0, OPENS, ""]]
    assert rig.events() == [("MOVED", "ann", 0)]
    assert rig.registered() == ["new", "bob"]
    close(rig)
    before = rig.everything()
    assert rig.run("move", "bob", "late").answers == [LATER, [NONE, 0, 0, 0, 0]]
    assert rig.everything() == before
    assert code_of(rig, "bob") == REGISTERED


@pytest.mark.parametrize(("giver", "taker"), [("ann", "bob"), ("bob", "ann")])
def test_of_two_registrations_the_earlier_one_stays(rig: Rig, giver: str, taker: str) -> None:
    gather(rig, "ann", "eve", "bob")
    assert rig.run("move", giver, taker).answers[0] == MOVED
    assert rig.registered() == [taker, "eve"]


def test_the_answer_to_a_move_has_what_the_new_receipt_is_made_of(rig: Rig) -> None:
    gather(rig, "ann", order="draw")
    assert rig.run("move", "ann", "new").answers == [MOVED, [REGISTERED, 0, 0, 1, 0, OPENS, "5a" * 32]]


def test_a_registration_for_a_user_who_is_inside_ends(rig: Rig) -> None:
    rig.set_rules(opens_at=0, prequeue=0)
    rig.limits(duration=10_000_000)
    rig.lineup("kim")
    rig.set_rules(opens_at=OPENS, prequeue=30_000)
    gather(rig, "ann")
    assert rig.run("move", "ann", "kim").answers[0] == MOVED
    assert (rig.registered(), rig.events()) == ([], [("MOVED", "ann", 0)])


def test_a_placed_user_keeps_the_place_until_the_room_is_open(rig: Rig) -> None:
    rig.limits(capacity=0)
    gather(rig, "ann", "bob")
    close(rig)
    rig.rank()
    rig.place(0, "ann")
    assert rig.run("move", "ann", "new").answers[0] == LATER
    rig.place(1, "bob")
    assert rig.run("move", "ann", "new").answers == [MOVED, [WAITING, 1, 1, 2, 0]]
    assert rig.line() == [("new", 1.0), ("bob", 2.0)]


def test_a_drawn_place_is_better_than_a_ticket_behind_it_and_worse_than_one_before(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.set_rules(opens_at=0, prequeue=0, absent=0)
    rig.lineup("old")
    rig.set_rules(opens_at=OPENS, prequeue=30_000)
    gather(rig, "ann", "bob", "cid")
    close(rig)
    rig.lineup("late")
    rig.rank()
    rig.place(0, "ann")
    assert rig.run("move", "late", "bob").answers[0] == MOVED
    assert code_of(rig, "bob") == REGISTERED
    assert rig.run("move", "old", "ann").answers == [MOVED, [WAITING, 1, 1, 3, 0]]
    rig.place(1, "bob", "cid")
    assert rig.line() == [("ann", 1.0), ("bob", 3.0), ("cid", 4.0)]
    assert rig.sweep().waiting == 3


def test_those_who_left_after_the_close_do_not_count_among_those_that_a_room_holds(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.set_rules(max_waiting=3)
    gather(rig, "ann", "bob", "cid")
    close(rig)
    rig.leave(("line", "bob"))
    assert rig.sweep().registered == 2
    assert rig.lineup("dan")[0] == [WAITING, 4, 3, 3, 0]
    assert rig.lineup("eve")[0][0] == ROOM_FULL
    rig.rank()
    rig.place(0, "ann", "bob")
    assert rig.sweep().registered == 1
    assert rig.lineup("eve")[0][0] == ROOM_FULL
    rig.leave(("line", "ann"))
    assert rig.sweep().registered == 1
    assert rig.status("dan")[0] == [WAITING, 4, 2, 2, 0]
    assert rig.lineup("eve")[0][0] == WAITING


def test_an_invitation_is_spent_with_the_registration_that_it_brings(rig: Rig) -> None:
    gather(rig)
    end = rig.now + 1_000_000
    assert rig.lineup_by(("ann", "i1", 1, end))[0][0] == REGISTERED
    assert rig.lineup_by(("ann", "i1", 1, end))[0][0] == REGISTERED
    assert rig.lineup_by(("bob", "i1", 1, end))[0][0] == NOT_ELIGIBLE
    assert rig.registered() == ["ann"]


def test_registered_users_count_among_those_that_a_room_holds(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.set_rules(max_waiting=3)
    gather(rig, "ann", "bob", "cid")
    assert rig.lineup("dan")[0][0] == ROOM_FULL
    assert rig.lineup("ann")[0][0] == REGISTERED
    close(rig)
    rig.rank()
    rig.place(0, "ann")
    assert rig.lineup("dan")[0][0] == ROOM_FULL
    rig.place(1, "bob", "cid")
    assert rig.lineup("dan")[0][0] == ROOM_FULL
    rig.leave(("line", "ann"))
    assert rig.lineup("dan")[0][:2] == [WAITING, 4]


def test_registrations_count_as_lineups_of_their_users(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=2)
    gather(rig, "ann")
    assert rig.lineup("ann")[0][0] == REGISTERED
    assert rig.lineup("ann")[0][0] == TOO_MANY_LINEUPS


# -- beside an older system ----------------------------------------------------------------------------


def test_before_the_close_a_ticket_of_an_older_system_is_the_lower_one(rig: Rig) -> None:
    rig.limits(capacity=0)
    gather(rig, "ann", "bob")
    rig.client.zadd(rig.keys.line, {"ann": rig.client.incr(rig.keys.counter)})
    assert rig.run("find", "ann").answers[0] == "WAITING"
    assert rig.status("ann")[0][:3] == [WAITING, 1, 1]
    assert rig.registered() == ["bob"]


def test_a_ticket_that_nobody_has_seen_before_the_close_stands(rig: Rig) -> None:
    rig.limits(capacity=0)
    gather(rig, "ann", "bob")
    rig.client.zadd(rig.keys.line, {"bob": rig.client.incr(rig.keys.counter)})
    close(rig)
    rig.rank()
    rig.place(0, "ann", "bob")
    assert rig.line() == [("bob", 1.0), ("ann", 2.0)]


def test_after_the_close_the_drawn_ticket_is_the_lower_one(rig: Rig) -> None:
    rig.limits(capacity=0)
    gather(rig, "ann", "bob")
    close(rig)
    rig.client.zadd(rig.keys.line, {"bob": rig.client.incr(rig.keys.counter)})
    assert code_of(rig, "bob") == REGISTERED
    rig.rank()
    rig.place(0, "ann", "bob")
    assert rig.line() == [("ann", 1.0), ("bob", 2.0)]


def test_whom_an_older_system_has_admitted_is_registered_no_longer(rig: Rig) -> None:
    gather(rig, "ann", "bob")
    rig.client.hset(rig.keys.inside, "ann", rig.now // 1000)
    assert code_of(rig, "ann") == ALLOWED_IN
    assert rig.registered() == ["bob"]
