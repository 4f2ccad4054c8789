"""lineup: asking to enter."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import ADMITTED, ALLOWED_IN, START, WAITING, Rig, fill

SECOND = START // 1000
ODD_IDS = [
    "예매왕",
    "😀",
    'it\'s "quoted"',
    "{tag}:[x]*?\\",
    " ",
    "a\tb\nc\r\n\0d",
    "%s %d {}",
    "x" * 255,
    "\udcff\udc80",
    "0",
    "1e3",
    "-inf",
    "nil",
]


def test_new_users_are_admitted_while_there_are_slots_and_the_rest_queue_in_order(rig: Rig) -> None:
    assert rig.lineup("ann", "bob", "cid", "dan") == [
        [ADMITTED, 0, 0, 0, 10_000],
        [ADMITTED, 0, 0, 0, 10_000],
        [WAITING, 1, 1, 1, 0],
        [WAITING, 2, 2, 2, 0],
    ]
    assert rig.line() == [("cid", 1), ("dan", 2)]
    assert rig.inside() == {"ann": str(SECOND), "bob": str(SECOND)}
    assert rig.activity() == {"ann": START, "bob": START}
    assert rig.absent() == {"cid": START, "dan": START}
    assert rig.client.get(rig.keys.counter) == "2"
    assert rig.events() == []


def test_being_admitted_at_once_takes_no_ticket(rig: Rig) -> None:
    rig.lineup("ann")
    assert rig.client.exists(rig.keys.counter) == 0


def test_lining_up_while_allowed_in_neither_queues_nor_extends(rig: Rig) -> None:
    rig.lineup("ann")
    rig.advance(4_000)
    assert rig.lineup("ann", "ann") == [[ALLOWED_IN, 0, 0, 0, 6_000]] * 2
    assert rig.activity() == {"ann": START}


@pytest.mark.parametrize(
    ("relineup", "answer", "order"),
    [
        ("back", [WAITING, 4, 3, 3, 0], ["dan", "eve", "cid"]),
        ("keep", [WAITING, 1, 1, 3, 0], ["cid", "dan", "eve"]),
    ],
)
def test_asking_again_while_waiting(rig: Rig, relineup: str, answer: list[int], order: list[str]) -> None:
    rig.lineup("ann", "bob", "cid", "dan", "eve")
    rig.advance(1_000)
    assert rig.lineup("cid", relineup=relineup)[0] == answer
    assert rig.waiting() == order
    assert rig.absent()["cid"] == rig.now


def test_the_same_user_several_times_in_a_batch_is_in_line_once(rig: Rig) -> None:
    answers = rig.lineup("ann", "ann", "bob", "cid", "cid", "dan", "cid")
    assert [answer[:3] for answer in answers] == [
        [ADMITTED, 0, 0],
        [ALLOWED_IN, 0, 0],
        [ADMITTED, 0, 0],
        [WAITING, 1, 1],
        [WAITING, 2, 1],
        [WAITING, 3, 2],
        [WAITING, 4, 2],
    ]
    assert rig.line() == [("dan", 3), ("cid", 4)]


def test_a_free_slot_goes_first_to_the_head_of_the_line(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan")
    rig.client.hdel(rig.keys.inside, "ann")
    assert rig.lineup("eve")[0][:3] == [WAITING, 3, 2]
    assert "cid" in rig.inside()
    assert rig.events() == [("ADMITTED", "cid", 1)]


def test_a_new_user_waits_while_any_user_waits(rig: Rig) -> None:
    rig.limits(paused=True)
    rig.lineup("ann")
    assert rig.lineup("bob")[0][:3] == [WAITING, 2, 2]
    assert rig.limits(paused=False).promoted == 2


def test_a_room_without_slots_queues_every_user(rig: Rig) -> None:
    rig.limits(capacity=0)
    reply = rig.run("lineup", "ann", "bob")
    assert [answer[2] for answer in reply.answers] == [1, 2]
    assert (reply.summary.capacity, reply.summary.more) == (0, False)


def test_after_the_capacity_was_lowered_no_user_is_admitted_until_the_number_is_below_it(rig: Rig) -> None:
    rig.limits(capacity=3)
    rig.lineup("ann", "bob", "cid", "dan")
    assert rig.limits(capacity=2).allowed_in == 3
    assert rig.lineup("eve")[0][0] == WAITING
    rig.leave(("slot", "ann"))
    assert sorted(rig.inside()) == ["bob", "cid"]
    rig.leave(("slot", "bob"))
    assert sorted(rig.inside()) == ["cid", "dan"]


def test_an_expired_user_gives_the_slot_to_the_line_and_queues_behind_it(rig: Rig) -> None:
    rig.lineup("ann")
    rig.advance(5_000)
    rig.lineup("bob", "cid")
    rig.advance(5_000)
    assert rig.lineup("ann")[0][:3] == [WAITING, 2, 1]
    assert sorted(rig.inside()) == ["bob", "cid"]
    assert rig.events() == [("ADMITTED", "cid", 1)]
    assert rig.tally()["expired"] == 1


def test_an_expired_user_is_admitted_anew_if_no_user_waits(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.advance(10_000)
    assert rig.lineup("ann", "ann") == [[ADMITTED, 0, 0, 0, 10_000], [ALLOWED_IN, 0, 0, 0, 10_000]]
    assert rig.tally() == {"admitted": 3, "expired": 1}


def test_an_expired_user_at_the_head_of_the_line_gets_the_slot_they_left(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, mapping={"ann": SECOND - 60, "bob": SECOND})
    rig.client.zadd(rig.keys.line, {"ann": 7})
    assert rig.lineup("ann")[0] == [ADMITTED, 0, 0, 0, 10_000]
    assert rig.events() == [("ADMITTED", "ann", 7)]


@pytest.mark.parametrize(
    ("counter", "line", "ticket"),
    [
        (None, {}, 1),
        (7, {}, 8),
        (7, {"old": 5}, 8),
        (5, {"old": 9}, 10),
        (None, {"old": 9.5}, 10),
        (3, {"old": -4}, 4),
    ],
)
def test_a_new_ticket_is_above_the_counter_and_above_the_line(
    rig: Rig, counter: int | None, line: dict[str, float], ticket: int
) -> None:
    rig.limits(paused=True)
    if counter is not None:
        rig.client.set(rig.keys.counter, counter)
    if line:
        rig.client.zadd(rig.keys.line, line)
    assert rig.lineup("ann")[0][1] == ticket
    assert rig.line()[-1] == ("ann", ticket)


@pytest.mark.parametrize("script", ["lineup", "sweep"])
@pytest.mark.parametrize("huge", [2.0**52, 2.0**53, 1e18, 1e300, float("inf")])
def test_tickets_too_large_to_count_on_from_become_sound_in_their_order(
    rig: Rig, script: str, huge: float
) -> None:
    rig.limits(paused=True)
    rig.client.set(rig.keys.counter, 2**63 - 1)
    # More than one call removes, each with a ticket of its own as long as doubles can tell them apart.
    spoilt = [(f"h{n:03}", huge * (1 + n / 1000)) for n in range(300)]
    rig.client.zadd(rig.keys.line, {"ann": 1, "bob": 2, **dict(spoilt)})
    order = rig.waiting()
    if script == "lineup":
        assert rig.lineup("new")[0][:3] == [WAITING, 303, 303]
        order.append("new")
    else:
        rig.sweep()
    assert rig.line() == [(user, at) for at, user in enumerate(order, 1)]
    assert rig.lineup("newer")[0][1] == len(order) + 1


@pytest.mark.parametrize("script", ["lineup", "sweep"])
def test_a_ticket_given_in_place_of_an_unsound_one_is_never_given_again(rig: Rig, script: str) -> None:
    rig.limits(capacity=0)
    rig.client.zadd(rig.keys.line, {"ann": 2.0**53, "bob": 2.0**54})
    if script == "lineup":
        rig.lineup("ann", relineup="keep")
    else:
        rig.sweep()
    assert rig.line() == [("ann", 1), ("bob", 2)]
    rig.leave(("line", "ann"), ("line", "bob"))
    assert rig.lineup("cid")[0][1] == 3


@pytest.mark.parametrize("huge", [2.0**53, 1e300, float("inf")])
def test_until_then_answers_and_events_show_the_same_ticket(rig: Rig, huge: float) -> None:
    rig.limits(capacity=0)
    rig.client.zadd(rig.keys.line, {"ann": huge, "bob": float("-inf")})
    tickets = {user: rig.status(user)[0][1] for user in ("bob", "ann")}
    rig.limits(capacity=2)
    assert rig.events() == [("ADMITTED", user, ticket) for user, ticket in tickets.items()]


def test_one_call_admits_256_and_says_that_there_is_more(rig: Rig) -> None:
    fill(rig, rig.keys.line, [(f"w{n:03}", n + 1) for n in range(600)], "zset")
    rig.capacity = 1000
    reply = rig.run("lineup", "new")
    assert reply.summary.promoted == 256
    assert reply.summary.more
    assert reply.answers[0][:3] == [WAITING, 601, 345]
    assert [rig.sweep().promoted for _ in range(2)] == [256, 89]
    assert [user for _, user, _ in rig.events()] == [f"w{n:03}" for n in range(600)] + ["new"]


def test_promotions_and_new_users_share_the_256_of_a_call(rig: Rig) -> None:
    fill(rig, rig.keys.line, [(f"w{n:03}", n + 1) for n in range(200)], "zset")
    rig.capacity = 1000
    reply = rig.run("lineup", *(f"n{n:03}" for n in range(100)))
    kinds = [answer[0] for answer in reply.answers]
    assert kinds == [ADMITTED] * 56 + [WAITING] * 44
    assert reply.summary.more
    assert rig.sweep().promoted == 44


def test_256_new_users_are_admitted_in_one_call(rig: Rig) -> None:
    rig.capacity = 256
    reply = rig.run("lineup", *(f"n{n}" for n in range(256)))
    assert {answer[0] for answer in reply.answers} == {ADMITTED}
    assert (reply.summary.allowed_in, reply.summary.more) == (256, False)


@pytest.mark.parametrize("user", ODD_IDS, ids=range(len(ODD_IDS)))
def test_user_ids_are_opaque(rig: Rig, user: str) -> None:
    rig.limits(capacity=0)
    assert rig.lineup(user)[0][:3] == [WAITING, 1, 1]
    assert rig.lineup(user, relineup="keep")[0][:3] == [WAITING, 1, 1]
    rig.limits(capacity=1)
    assert rig.events() == [("ADMITTED", user, 1)]
    assert rig.inside() == {user: str(SECOND)}
    assert rig.gate(user)[0][0] == ALLOWED_IN
    rig.leave(("slot", user))
    assert rig.inside() == {}


def test_rooms_know_nothing_of_each_other(rig: Rig) -> None:
    vip = Rig(rig.client, capacity=1, room="vip")
    rig.lineup("ann", "bob", "cid")
    assert [answer[0] for answer in vip.lineup("ann", "cid")] == [ADMITTED, WAITING]
    assert rig.waiting() == vip.waiting() == ["cid"]
    vip.close()
