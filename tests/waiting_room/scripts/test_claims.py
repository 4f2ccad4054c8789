"""The time in which a promoted user must claim the slot."""

from __future__ import annotations

from typing import Any

import pytest

from tests.waiting_room.rig import ADMITTED, ALLOWED_IN, NONE, NOTHING, PLACE, SLOT, START, WAITING, Rig
from tests.waiting_room.rules import assert_rules, look

CLAIM = 3_000


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """One slot, which ann has; bob, cid and dan wait. Slots must be claimed within 3 s."""
    rig.set_rules(claim=CLAIM)
    rig.limits(capacity=1, duration=60_000)
    rig.lineup("ann", "bob", "cid", "dan")
    return rig


def promote_bob(rig: Rig) -> None:
    rig.leave(("slot", "ann"))
    rig.events()


def test_without_claim_a_promoted_user_keeps_the_slot_and_nothing_is_kept(rig: Rig) -> None:
    rig.set_rules(claim=0)
    promote_bob(rig)
    rig.advance(59_999)
    rig.sweep(absent=0)
    assert rig.status("bob") == [[ALLOWED_IN, 0, 0, 2, 1]]
    assert not rig.client.exists(rig.keys.claims, rig.keys.missed, rig.keys.tickets)


def test_admission_at_once_needs_no_claim(rig: Rig) -> None:
    rig.advance(59_999)
    rig.sweep(absent=0)
    assert rig.status("ann") == [[ALLOWED_IN, 0, 0, 3, 1]]


def test_answers_say_until_when_the_slot_must_be_claimed(rig: Rig) -> None:
    promote_bob(rig)
    by = rig.now + CLAIM
    rig.advance(1_000)
    assert rig.status("bob") == [[ALLOWED_IN, 0, 0, 2, 59_000, by]]
    assert rig.lineup("bob") == [[ALLOWED_IN, 0, 0, 2, 59_000, by]]
    assert rig.status("bob", sighting=False) == [[ALLOWED_IN, 0, 0, 2, 59_000, by]]


def test_a_gated_call_claims_the_slot_and_renews(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(CLAIM - 1)
    assert rig.gate("bob") == [[ALLOWED_IN, 0, 0, 2, 60_000, -1]]
    rig.advance(59_999)
    rig.sweep(absent=0)
    assert rig.status("bob") == [[ALLOWED_IN, 0, 0, 2, 1]]


def test_the_window_ends_to_the_millisecond_and_the_next_user_gets_the_slot(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(CLAIM - 1)
    assert rig.sweep(absent=0).lapsed == 0
    rig.advance(1)
    summary = rig.sweep()
    assert (summary.lapsed, summary.unclaimed, summary.parkings, summary.promoted) == (1, 0, 1, 1)
    assert summary.stays == (3.0,)
    assert rig.events() == [("ADMITTED", "cid", 2)]
    assert list(rig.inside()) == ["cid"]
    assert rig.parked() == {"bob": (1, rig.now)}
    assert_rules(look(rig))


@pytest.mark.parametrize("call", ["gate", "status", "lineup"])
def test_it_ends_without_a_sweep_too_and_the_user_is_back_in_line_behind_nobody(rig: Rig, call: str) -> None:
    promote_bob(rig)
    rig.advance(CLAIM)
    assert getattr(rig, call)("bob") == [[WAITING, 1, 1, 2, 0]]
    assert list(rig.inside()) == ["cid"]
    assert rig.events() == [("ADMITTED", "cid", 2)]
    assert_rules(look(rig))


def test_a_user_who_is_late_and_alone_is_admitted_again_and_a_gated_call_goes_on(rig: Rig) -> None:
    rig.leave(("line", "cid"), ("line", "dan"))
    promote_bob(rig)
    rig.advance(CLAIM)
    assert rig.gate("bob") == [[ALLOWED_IN, 0, 0, 0, 60_000, -1]]
    assert rig.events() == [("ADMITTED", "bob", 1)]
    rig.advance(59_999)
    rig.sweep(absent=0)
    assert rig.status("bob")[0][0] == ALLOWED_IN


def test_the_second_time_for_the_same_ticket_the_user_is_removed(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.sweep(absent=0)
    assert rig.status("bob") == [[WAITING, 1, 1, 2, 0]]
    rig.gate("cid")
    rig.leave(("slot", "cid"))
    rig.events()
    rig.advance(CLAIM)
    summary = rig.sweep()
    assert (summary.lapsed, summary.unclaimed, summary.parkings) == (1, 1, 0)
    assert rig.events() == [("UNCLAIMED", "bob", 1), ("ADMITTED", "dan", 3)]
    assert rig.status("bob")[0][0] == NONE
    assert rig.parked() == {}
    assert not rig.client.exists(rig.keys.missed)


def test_a_claim_forgets_the_first_time(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.gate("bob")
    rig.gate("cid")
    rig.leave(("slot", "cid"))
    rig.gate("bob")
    rig.leave(("slot", "bob"))
    assert not rig.client.exists(rig.keys.missed)


def test_a_new_ticket_forgets_it_too(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.status("bob")
    assert rig.lineup("bob")[0][:2] == [WAITING, 4]
    rig.leave(("slot", "cid"))
    rig.gate("dan")
    rig.leave(("slot", "dan"))
    rig.advance(CLAIM)
    rig.sweep(absent=0)
    assert rig.parked()["bob"][0] == 4


def test_it_is_remembered_while_the_user_is_absent_and_parked(rig: Rig) -> None:
    rig.sweep(absent=2_000)
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.status("bob")
    rig.gate("cid")
    for _ in range(3):
        rig.advance(1_000)
        rig.sweep()
    assert "bob" in rig.parked()
    rig.status("bob")
    rig.leave(("slot", "cid"))
    rig.events()
    rig.advance(CLAIM)
    rig.sweep()
    assert ("UNCLAIMED", "bob", 1) in rig.events()


def test_a_parked_user_loses_the_ticket_when_the_hold_is_over(rig: Rig) -> None:
    rig.sweep(absent=0, hold=5_000)
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.sweep()
    for _ in range(5):
        rig.advance(1_000)
        rig.sweep()
    assert ("ABSENT", "bob", 1) in rig.events()
    assert "bob" not in rig.client.zrange(rig.keys.missed, 0, -1)


def test_without_hold_the_first_time_is_the_last(rig: Rig) -> None:
    rig.sweep(absent=0, hold=0)
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.sweep()
    assert rig.events() == [("UNCLAIMED", "bob", 1), ("ADMITTED", "cid", 2)]


def test_leaving_in_time_gives_up_the_slot_and_too_late_the_place(rig: Rig) -> None:
    promote_bob(rig)
    assert rig.leave(("both", "bob")) == [SLOT]
    rig.advance(CLAIM)
    assert rig.leave(("slot", "cid"), ("both", "cid")) == [NOTHING, PLACE]
    assert list(rig.inside()) == ["dan"]
    assert_rules(look(rig))
    assert not rig.client.exists(rig.keys.missed)


def test_a_session_that_ends_before_the_window_expires_as_any_other(rig: Rig) -> None:
    rig.limits(duration=1_000)
    promote_bob(rig)
    rig.advance(CLAIM)
    summary = rig.sweep(absent=0)
    assert (summary.expired, summary.lapsed) == (1, 0)
    assert rig.parked() == {}
    assert_rules(look(rig))


def test_whichever_ends_first_counts_however_late_it_is_found(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(600_000)
    summary = rig.sweep(absent=0)
    assert (summary.expired, summary.lapsed, summary.stays) == (0, 1, (3.0,))


def test_events_say_until_when_to_claim(rig: Rig) -> None:
    rig.leave(("slot", "ann"))
    rig._listener.execute_command("PING", "that is all")
    message: Any = rig._listener.parse_response()
    assert f'"claim_by":{rig.now + CLAIM}' in message[2]


def test_switching_it_off_ends_all_windows(rig: Rig) -> None:
    promote_bob(rig)
    rig.limits(rules="claim=0")
    rig.set_rules(claim=0)
    rig.advance(CLAIM)
    assert rig.status("bob")[0][0] == ALLOWED_IN
    rig.sweep(absent=0)
    assert not rig.client.exists(rig.keys.claims, rig.keys.missed, rig.keys.tickets)
    assert_rules(look(rig))


def test_a_change_holds_for_windows_that_run(rig: Rig) -> None:
    promote_bob(rig)
    rig.set_rules(claim=10_000)
    assert rig.status("bob")[0][5] == rig.now + 10_000


def test_an_earlier_versions_gated_call_claims_too(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(1_000)
    rig.client.hset(rig.keys.inside, "bob", rig.now // 1000)
    rig.client.zadd(rig.keys.activity, {"bob": rig.now})
    rig.advance(CLAIM)
    assert rig.sweep(absent=0).lapsed == 0
    assert rig.status("bob")[0][0] == ALLOWED_IN
    assert_rules(look(rig))


def test_a_window_is_not_one_of_a_later_session(rig: Rig) -> None:
    """An earlier version ended the session, and admitted the user anew."""
    promote_bob(rig)
    rig.advance(1_000)
    for key in (rig.keys.activity, rig.keys.since):
        rig.client.zadd(key, {"bob": rig.now})
    rig.advance(CLAIM)
    assert rig.sweep(absent=0).lapsed == 0
    assert rig.status("bob")[0][0] == ALLOWED_IN


def test_the_window_of_a_user_who_is_gone_goes_with_the_sweep(rig: Rig) -> None:
    promote_bob(rig)
    rig.gate("bob")
    rig.client.hdel(rig.keys.inside, "bob")
    rig.client.zrem(rig.keys.activity, "bob")
    rig.client.zrem(rig.keys.since, "bob")
    rig.sweep(absent=0)
    assert "bob" not in rig.client.zrange(rig.keys.claims, 0, -1)
    assert_rules(look(rig))


def test_while_an_older_system_is_followed_no_slot_must_be_claimed(rig: Rig) -> None:
    rig.follow = ("on", 60_000)
    rig.presence("here", ("arrived", "bob"))
    promote_bob(rig)
    rig.sweep(absent=0)
    rig.advance(CLAIM)
    rig.sweep()
    assert rig.status("bob") == [[ALLOWED_IN, 0, 0, 2, 57_000]]


def test_new_tickets_are_above_those_of_users_who_have_yet_to_claim(rig: Rig) -> None:
    rig.leave(("line", "cid"), ("line", "dan"))
    promote_bob(rig)
    rig.client.delete(rig.keys.counter)
    assert rig.lineup("eve")[0][1] == 2


def test_one_step_of_the_sweep_ends_256_sessions(rig: Rig) -> None:
    users = [f"u{n}" for n in range(300)]
    rig.lineup(*users[:150])
    rig.lineup(*users[150:])
    rig.limits(capacity=304)
    rig.sweep()
    rig.advance(CLAIM)
    first, second = rig.sweep(absent=0), rig.sweep()
    assert (first.lapsed, first.more) == (256, True)
    assert second.lapsed == 303 - 256


def test_a_call_that_no_service_answered_begins_the_window_again(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(2_000)
    assert rig.gate("bob")[0][5] == -1
    rig.advance(2_000)
    rig.run("reopen", "bob")
    assert rig.status("bob")[0][5] == rig.now + CLAIM
    rig.advance(CLAIM)
    assert rig.sweep(absent=0).lapsed == 1
    assert rig.parked()["bob"][0] == 1


@pytest.mark.parametrize(("calls", "failed", "open_again"), [(3, 2, False), (3, 3, True), (1, 1, True)])
def test_parallel_calls_leave_the_slot_claimed_if_one_reached_the_service(
    rig: Rig, calls: int, failed: int, open_again: bool
) -> None:
    promote_bob(rig)
    rig.gate(*["bob"] * calls)
    rig.run("reopen", *["bob"] * failed)
    rig.advance(CLAIM)
    assert rig.sweep(absent=0).lapsed == open_again


def test_after_eight_calls_the_slot_is_claimed_for_good(rig: Rig) -> None:
    promote_bob(rig)
    assert [answer[5:] for answer in rig.gate(*["bob"] * 9)] == [[-1]] * 8 + [[]]
    rig.run("reopen", *["bob"] * 9)
    assert not rig.client.exists(rig.keys.claims, rig.keys.tickets)
    assert rig.gate("bob") == [[ALLOWED_IN, 0, 0, 2, 60_000]]


def test_a_failure_changes_nothing_for_others(rig: Rig) -> None:
    promote_bob(rig)
    before = look(rig)
    rig.run("reopen", "ann", "bob", "cid", "nobody")
    assert look(rig) == before


def test_a_lineup_that_finds_the_own_expired_session_is_not_asked_to_claim(rig: Rig) -> None:
    rig.leave(("line", "bob"), ("line", "cid"), ("line", "dan"))
    rig.advance(60_000)
    assert rig.lineup("ann") == [[ADMITTED, 0, 0, 0, 60_000]]


@pytest.mark.parametrize("score", ["-0.5", "inf", "-inf", "1e300", "-100", START + 10**9])
def test_unusable_windows_do_no_harm(rig: Rig, score: str) -> None:
    promote_bob(rig)
    rig.client.zadd(rig.keys.claims, {"bob": score})
    rig.status("bob")
    rig.run("reopen", "bob")
    assert rig.gate("bob")[0][0] == ALLOWED_IN
    rig.advance(CLAIM)
    rig.sweep(absent=0)
    assert rig.gate("bob")[0][0] == ALLOWED_IN


def test_windows_whose_sessions_ended_before_do_not_stop_the_sweep(rig: Rig) -> None:
    """As many as one sweep looks at: it would look at the same ones for ever."""
    rig.limits(capacity=400, duration=600_000)
    rig.set_rules(claim=300_000)
    for at in range(0, 600, 200):
        rig.lineup(*(f"u{number}" for number in range(at, at + 200)))
    rig.limits(capacity=0)
    rig.set_rules(claim=300_000)
    crowd = [f"w{number}" for number in range(400)]
    for at in range(0, 400, 200):
        rig.lineup(*crowd[at : at + 200])
    rig.leave(*(("slot", f"u{number}") for number in range(200)))
    rig.leave(*(("slot", f"u{number}") for number in range(200, 400)))
    rig.limits(capacity=400)
    while rig.sweep(absent=0).more:
        pass
    assert rig.client.zcard(rig.keys.claims) > 256
    rig.advance(100_000)
    rig.limits(duration=30_000)
    rig.set_rules(claim=60_000)
    for _ in range(20):
        rig.advance(60_000)
        if not rig.sweep(absent=0).more:
            break
    else:
        pytest.fail("the sweep never ends")
    assert rig.client.zcount(rig.keys.claims, 1, rig.now - 60_000) == 0
    assert_rules(look(rig))


@pytest.mark.parametrize(("place", "ticket"), [(9, 1), (0, 0)])
def test_a_user_whom_an_older_system_has_put_in_line_stays_there_with_the_lower_ticket(
    rig: Rig, place: int, ticket: int
) -> None:
    promote_bob(rig)
    rig.limits(capacity=0)
    rig.client.zadd(rig.keys.line, {"bob": place})
    rig.advance(CLAIM)
    assert rig.gate("bob") == [[WAITING, ticket, 1, 3, 0]]
    assert rig.parked() == {}
    assert rig.events() == []
    assert_rules(look(rig))


def test_the_second_time_a_user_whom_an_older_system_has_put_in_line_keeps_only_that_place(rig: Rig) -> None:
    promote_bob(rig)
    rig.advance(CLAIM)
    rig.sweep(absent=0)
    rig.status("bob")
    rig.leave(("slot", "cid"))
    rig.client.zadd(rig.keys.line, {"bob": 9})
    rig.limits(capacity=0)
    rig.events()
    rig.advance(CLAIM)
    assert rig.gate("bob") == [[WAITING, 9, 2, 2, 0]]
    assert rig.events() == []
    assert_rules(look(rig))
