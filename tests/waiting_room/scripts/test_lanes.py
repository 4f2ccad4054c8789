"""Lanes: lines of their own within a room, and what each gets of the admissions."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import redis

from gateway.waiting_room.state import parse_states
from tests.waiting_room.rig import ADMITTED, REGISTERED, START, WAITING, Rig

LANES = "members:3000"


def open_lanes(rig: Rig, text: str = LANES) -> Rig:
    """Lanes come into force, and calls name their keys."""
    rig.lanes = tuple(part.partition(":")[0] for part in text.split(","))
    rig.set_rules(lanes=text)
    return rig


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """A full room of one slot, with a lane for members beside lane default."""
    open_lanes(rig)
    rig.capacity = 1
    rig.limits(capacity=1, duration=1_000_000)
    assert rig.lineup("inside")[0][0] == ADMITTED
    return rig


def line_up(rig: Rig, lane: str, *users: str) -> list[list[int]]:
    rig.wanted.update(dict.fromkeys(users, lane))
    return rig.lineup(*users)


def members(rig: Rig) -> list[str]:
    return rig.client.zrange(rig.keys.of_lanes(["members"])[1], 0, -1)


def lane_of(rig: Rig, user: str) -> str | None:
    return rig.client.hget(rig.keys.of_lanes(["members"])[0], user)


def free_one_slot(rig: Rig) -> list[str]:
    """Someone inside leaves; who is admitted for that."""
    (inside, *_) = rig.inside()
    rig.events()
    rig.leave(("slot", inside))
    return [user for kind, user, _ in rig.events() if kind == "ADMITTED"]


def numbers(rig: Rig) -> dict[str, int]:
    return {name: waiting for name, _, waiting in rig.run("status", 0).summary.lanes}


def test_each_lane_is_a_line_of_its_own(rig: Rig) -> None:
    line_up(rig, "default", "ann", "bob")
    answers = line_up(rig, "members", "cid", "dan")
    # Code, ticket, position, how many wait in the lane, nothing left, the lane's number.
    assert answers == [[WAITING, 3, 1, 1, 0, 1], [WAITING, 4, 2, 2, 0, 1]]
    assert rig.status("ann", "dan") == [[WAITING, 1, 1, 2, 0, 2], [WAITING, 4, 2, 2, 0, 1]]
    assert rig.gate("bob", "cid") == [[WAITING, 2, 2, 2, 0, 2], [WAITING, 3, 1, 2, 0, 1]]
    # Only lane default is in the key that older systems know.
    assert (rig.waiting(), members(rig)) == (["ann", "bob"], ["cid", "dan"])
    summary = rig.run("status", 0).summary
    assert [tuple(lane) for lane in summary.lanes] == [("members", 0.3, 2), ("default", 0.7, 2)]
    assert summary.waiting == 4


def test_a_room_without_lanes_names_no_keys_and_answers_as_before(client: redis.Redis) -> None:
    plain = Rig(client, capacity=0)
    reply = plain.run("lineup", "ann")
    assert reply.answers == [[WAITING, 1, 1, 1, 0]]
    assert reply.summary.lanes == ()
    assert not [key for key in client.scan_iter() if "lane" in key]
    plain.close()


def test_admissions_are_dealt_by_shares(rig: Rig) -> None:
    line_up(rig, "default", *(f"d{n}" for n in range(100)))
    line_up(rig, "members", *(f"m{n}" for n in range(100)))
    admitted = [user for _ in range(100) for user in free_one_slot(rig)]
    assert Counter(user[0] for user in admitted) == {"d": 70, "m": 30}
    # In each lane by ticket, and never far from the share.
    assert [user for user in admitted if user[0] == "d"] == [f"d{n}" for n in range(70)]
    assert [user for user in admitted if user[0] == "m"] == [f"m{n}" for n in range(30)]
    for count in range(1, 101):
        assert abs(sum(user[0] == "m" for user in admitted[:count]) - 0.3 * count) <= 1


def test_an_unused_share_passes_on(rig: Rig) -> None:
    line_up(rig, "default", *(f"d{n}" for n in range(30)))
    assert [free_one_slot(rig) for _ in range(10)] == [[f"d{n}"] for n in range(10)]
    # Nobody has saved anything meanwhile.
    line_up(rig, "members", *(f"m{n}" for n in range(30)))
    admitted = [user[0] for _ in range(20) for user in free_one_slot(rig)]
    assert Counter(admitted) == {"d": 14, "m": 6}
    assert "mm" not in "".join(admitted)
    # Nor do members lose anything by having been alone.
    rig.leave(*(("line", f"d{n}") for n in range(30)))
    assert {free_one_slot(rig)[0][0] for _ in range(5)} == {"m"}
    line_up(rig, "default", *(f"e{n}" for n in range(30)))
    assert Counter(free_one_slot(rig)[0][0] for _ in range(10)) == {"e": 7, "m": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1000,b:1000,c:3000", {"a": 0.1, "b": 0.1, "c": 0.3, "default": 0.5}),
        ("a:5000,b:5000", {"a": 0.5, "b": 0.5, "default": 0.0}),
        ("a:1,b:3333", {"a": 0.0001, "b": 0.3333, "default": 0.6666}),
        (",".join(f"l{n}:1250" for n in range(8)), {**{f"l{n}": 0.125 for n in range(8)}, "default": 0.0}),
    ],
)
def test_many_lanes_get_their_shares_however_the_admissions_come(
    client: redis.Redis, text: str, expected: dict[str, float]
) -> None:
    rig = open_lanes(Rig(client, capacity=0, duration=1_000_000), text)
    for lane in expected:
        for first in range(0, 600, 200):
            line_up(rig, lane, *(f"{lane}-{n}" for n in range(first, first + 200)))
    draw, got = Random(7), Counter[str]()
    while got.total() < 500:
        rig.events()
        rig.limits(capacity=len(rig.inside()) + draw.choice([1, 1, 2, 7, 40]))
        got.update(user.rpartition("-")[0] for kind, user, _ in rig.events() if kind == "ADMITTED")
        for lane, share in expected.items():
            assert abs(got[lane] - share * got.total()) <= len(expected)
    rig.close()


def test_shares_hold_over_a_long_run_with_uneven_load(client: redis.Redis) -> None:
    """Lanes fill and run dry at random. While all have users, each gets its share, and no slot stays free."""
    rig = open_lanes(Rig(client, capacity=0, duration=1_000_000), "a:2000,b:3000")
    shares = {"a": 0.2, "b": 0.3, "default": 0.5}
    draw, alive, got, rounds = Random(11), 0, Counter[str](), 0
    since_busy, capacity = Counter[str](), 0
    for turn in range(600):
        for lane in shares:
            if draw.random() < (0.15 if turn % 200 < 100 else 0.6):
                count = draw.randint(1, 4)
                line_up(rig, lane, *(f"{lane}-{alive + n}" for n in range(count)))
                alive += count
        before = numbers(rig)
        rig.events()
        capacity += draw.randint(0, 3)
        summary = rig.limits(capacity=capacity)
        admitted = [user.rpartition("-")[0] for kind, user, _ in rig.events() if kind == "ADMITTED"]
        assert len(admitted) == min(
            sum(before.values()), len(admitted) + summary.capacity - len(rig.inside())
        )
        if all(waiting > len(admitted) for waiting in before.values()):
            got.update(admitted)
            since_busy.update(admitted)
            rounds += 1
            for lane, share in shares.items():
                assert abs(since_busy[lane] - share * since_busy.total()) <= 2 * len(shares)
        else:
            since_busy.clear()
    assert rounds > 100
    for lane, share in shares.items():
        assert abs(got[lane] / got.total() - share) < 0.03
    rig.close()


def test_no_lane_with_a_share_starves_while_the_others_are_flooded(rig: Rig) -> None:
    line_up(rig, "members", "mia")
    line_up(rig, "default", *(f"d{n}" for n in range(200)))
    turns = 0
    while members(rig):
        free_one_slot(rig)
        turns += 1
        line_up(rig, "default", *(f"new-{turns}-{n}" for n in range(10)))
    assert turns <= 4


def test_a_lane_is_kept_until_a_new_ticket(rig: Rig) -> None:
    line_up(rig, "members", "ann")
    rig.wanted["ann"] = "default"
    assert rig.lineup("ann", relineup="keep") == [[WAITING, 1, 1, 1, 0, 1]]
    assert members(rig) == ["ann"]
    assert rig.lineup("ann") == [[WAITING, 2, 1, 1, 0, 2]]
    assert (members(rig), rig.waiting(), lane_of(rig, "ann")) == ([], ["ann"], None)
    rig.wanted["ann"] = "members"
    assert rig.lineup("ann") == [[WAITING, 3, 1, 1, 0, 1]]
    assert (members(rig), rig.waiting()) == (["ann"], [])


def test_a_lane_that_no_one_knows_is_lane_default(rig: Rig) -> None:
    assert line_up(rig, "unheard-of", "ann") == [[WAITING, 1, 1, 1, 0, 2]]


def test_a_parked_user_returns_to_the_lane(rig: Rig) -> None:
    line_up(rig, "members", "ann", "bob")
    line_up(rig, "default", "cid")
    rig.sweep(absent=2_000)
    rig.advance(2_000)
    rig.status("bob", "cid")
    rig.sweep(absent=2_000)
    assert set(rig.parked()) == {"ann"}
    assert numbers(rig) == {"members": 1, "default": 1}
    rig.wanted["ann"] = "default"
    assert rig.lineup("ann") == [[WAITING, 1, 1, 2, 0, 1]]
    assert members(rig) == ["ann", "bob"]


def test_a_user_who_does_not_claim_the_slot_returns_to_the_lane(rig: Rig) -> None:
    rig.set_rules(claim=1_000)
    line_up(rig, "members", "ann", "bob")
    assert free_one_slot(rig) == ["ann"]
    assert lane_of(rig, "ann") == "members"
    rig.advance(1_000)
    rig.sweep()
    assert set(rig.parked()) == {"ann"}
    assert rig.status("ann") == [[WAITING, 1, 1, 1, 0, 1]]
    # bob claims; the record of calls ends with the lane.
    for _ in range(9):
        rig.gate("bob")
    assert lane_of(rig, "bob") is None


def test_places_end_in_every_lane(rig: Rig) -> None:
    line_up(rig, "members", "ann", "bob", "cid")
    line_up(rig, "default", "dan")
    rig.events()
    rig.leave(("line", "ann"))
    assert lane_of(rig, "ann") is None
    rig.leave(("both", "bob"), reason="OPERATOR")
    assert rig.doors("empty").waiting == 0
    assert sorted(rig.events()) == [
        ("LEFT", "ann", 1),
        ("OPERATOR", "bob", 2),
        ("OPERATOR", "cid", 3),
        ("OPERATOR", "dan", 4),
    ]
    assert not rig.client.exists(*rig.keys.of_lanes(["members"]))


def test_sold_out_ends_every_lane_in_bounded_steps(rig: Rig) -> None:
    for first in range(0, 400, 200):
        line_up(rig, "members", *(f"m{n}" for n in range(first, first + 200)))
        line_up(rig, "default", *(f"d{n}" for n in range(first, first + 200)))
    summary = rig.doors("sold_out")
    assert (summary.removed, summary.more) == (256, True)
    while summary.more:
        summary = rig.sweep()
        assert summary.removed <= 256
    assert numbers(rig) == {"members": 0, "default": 0}


def test_an_operator_finds_the_lane(rig: Rig) -> None:
    line_up(rig, "members", "ann")
    line_up(rig, "default", "bob")
    found = rig.run("find", "ann").answers
    assert (found[0], found[2], found[-1]) == ("WAITING", 1, "members")
    assert rig.run("find", "bob").answers[-1] == "default"
    assert rig.run("find", "inside").answers[-1] == ""
    rig.sweep(absent=1_000)
    rig.advance(1_000)
    rig.sweep(absent=1_000)
    found = rig.run("find", "ann").answers
    assert (found[0], found[-1]) == ("PARKED", "members")


def test_a_place_moves_with_its_lane(rig: Rig) -> None:
    line_up(rig, "members", "ann")
    line_up(rig, "default", "bob", "cid")
    assert rig.run("move", "ann", "new").answers == [1, [WAITING, 1, 1, 1, 0, 1]]
    assert (members(rig), lane_of(rig, "ann"), lane_of(rig, "new")) == (["new"], None, "members")
    # The lower ticket stays, with its lane.
    assert rig.run("move", "bob", "new").answers == [1, [WAITING, 1, 1, 1, 0, 1]]
    assert rig.run("move", "new", "cid").answers == [1, [WAITING, 1, 1, 1, 0, 1]]
    assert (members(rig), rig.waiting(), numbers(rig)) == (["cid"], [], {"members": 1, "default": 0})


def test_a_slot_to_be_claimed_moves_with_its_lane(rig: Rig) -> None:
    rig.set_rules(claim=1_000)
    line_up(rig, "members", "ann")
    free_one_slot(rig)
    rig.run("move", "ann", "new")
    assert (lane_of(rig, "ann"), lane_of(rig, "new")) == (None, "members")
    rig.advance(1_000)
    rig.sweep()
    assert rig.status("new")[0][0] != WAITING  # alone, so admitted again
    assert rig.run("find", "new").answers[0] == "ALLOWED_IN"


def test_a_lane_that_is_no_longer_configured_loses_nobody(rig: Rig) -> None:
    for first in range(0, 300, 100):
        line_up(rig, "members", *(f"m{n}" for n in range(first, first + 100)))
        line_up(rig, "default", *(f"d{n}" for n in range(first, first + 100)))
    rig.sweep(absent=5_000)
    rig.advance(5_000)
    rig.status(*(f"m{n}" for n in range(1, 257)))
    rig.status(*(f"m{n}" for n in range(257, 300)), *(f"d{n}" for n in range(200)))
    rig.status(*(f"d{n}" for n in range(200, 300)))
    rig.sweep(absent=5_000)
    assert set(rig.parked()) == {"m0"}
    # An instance starts with a file without the lane, and still names its key: Redis has told it.
    rig.rules = "absent=0"
    rig.configure(1, 1_000_000)
    assert numbers(rig) == {"members": 299, "default": 300}
    assert line_up(rig, "members", "late")[0][5] == 2
    steps = 0
    summary = rig.sweep()
    while summary.more:
        assert summary.waiting == 600
        summary = rig.sweep()
        steps += 1
    assert steps == 1
    # In the order of the tickets, and those who were parked return to the same line.
    assert [user for user, _ in sorted(rig.line(), key=lambda place: place[1])] == rig.waiting()
    assert len(rig.waiting()) == 600
    rig.lanes = ()
    assert rig.status("m0") == [[WAITING, 1, 1, 601, 0]]
    assert not [key for key in rig.client.scan_iter() if "lane" in key]
    assert rig.history("m1")[-1] == (rig.now, "MOVED", "LANE", 2)
    assert rig.run("status", 0).summary.lanes == ()


def test_lanes_come_into_force_when_an_instance_is_configured_with_them(client: redis.Redis) -> None:
    rig = Rig(client, capacity=0)
    rig.configure(0, 10_000)
    rig.lineup("ann")
    rig.lanes, rig.rules = ("members",), LANES.join(("lanes=", ""))
    rig.configure(0, 10_000)
    assert line_up(rig, "members", "bob") == [[WAITING, 2, 1, 1, 0, 1]]
    assert rig.status("ann") == [[WAITING, 1, 1, 1, 0, 2]]
    # Other shares hold at once.
    rig.lanes, rig.rules = ("members", "gold"), "lanes=gold:1000,members:4000"
    rig.configure(0, 10_000)
    assert [tuple(lane) for lane in rig.run("status", 0).summary.lanes] == [
        ("gold", 0.1, 0),
        ("members", 0.4, 1),
        ("default", 0.5, 1),
    ]
    rig.close()


def test_a_call_that_does_not_name_the_lanes_is_told_and_changes_nothing(rig: Rig) -> None:
    line_up(rig, "members", "ann")
    before = rig.everything()
    for lanes in ((), ("gold",)):
        rig.lanes = lanes
        with pytest.raises(redis.ResponseError, match="LANES members:3000"):
            rig.lineup("bob")
    assert rig.everything() == before
    # More than are in force do no harm, also beside invitations.
    rig.lanes = ("gold", "members")
    assert rig.lineup_by(("bob", "id", 1, START + 60_000))[0][0] == WAITING


@pytest.mark.parametrize("which", [0, 1])
def test_a_key_of_another_type_is_named(rig: Rig, which: int) -> None:
    key = rig.keys.of_lanes(["members"])[which]
    rig.client.set(key, "x")
    with pytest.raises(redis.ResponseError, match=f"WRONGTYPE_KEY {key}"):
        rig.status("ann")


@pytest.mark.parametrize("owed", ["", "x", "members=nan default=1", "members=99e99", "gold=5 members=1"])
def test_what_lanes_are_owed_starts_again_if_it_is_unusable(rig: Rig, owed: str) -> None:
    line_up(rig, "members", *(f"m{n}" for n in range(10)))
    line_up(rig, "default", *(f"d{n}" for n in range(10)))
    rig.client.hset(rig.keys.pace, "owed", owed)
    assert Counter(free_one_slot(rig)[0][0] for _ in range(10)) == {"m": 3, "d": 7}


def test_a_user_whom_an_older_system_lines_up_again_has_no_slot_twice(rig: Rig) -> None:
    line_up(rig, "members", "ann")
    line_up(rig, "default", "bob")
    rig.client.zadd(rig.keys.line, {"ann": 9})
    assert rig.status("ann") == [[WAITING, 1, 1, 1, 0, 1]]
    assert free_one_slot(rig) == ["bob"]
    assert free_one_slot(rig) == ["ann"]
    assert (rig.waiting(), members(rig)) == ([], [])
    assert rig.status("ann")[0][0] != WAITING


def test_a_parked_user_whom_an_older_system_lines_up_is_in_lane_default(rig: Rig) -> None:
    line_up(rig, "members", "ann")
    rig.sweep(absent=1_000)
    rig.advance(1_000)
    rig.sweep(absent=1_000)
    rig.client.zadd(rig.keys.line, {"ann": 9})
    assert rig.status("ann") == [[WAITING, 1, 1, 1, 0, 2]]
    # Nothing stays of the other lane.
    rig.sweep(scan=500)
    assert lane_of(rig, "ann") is None


def test_an_entry_that_another_system_left_behind_goes(rig: Rig) -> None:
    line_up(rig, "members", "ann", "bob")
    rig.client.zrem(rig.keys.of_lanes(["members"])[1], "ann")
    rig.sweep(scan=500)
    assert (lane_of(rig, "ann"), lane_of(rig, "bob")) == (None, "members")


def test_registered_users_get_their_lanes_at_the_opening(client: redis.Redis) -> None:
    rig = open_lanes(Rig(client, capacity=1, duration=1_000_000))
    opens_at = START + 10_000
    rig.set_rules(opens_at=opens_at, prequeue=10_000)
    rig.gather()
    assert [answer[0] for answer in line_up(rig, "members", "ann", "bob")] == [REGISTERED] * 2
    answers = line_up(rig, "default", "cid", "dan", "eve")
    assert {answer[0] for answer in answers} == {REGISTERED}
    assert (answers[0][-1], rig.status("ann")[0][-1]) == (2, 1)
    # The lane stays with the registration, whatever a later lineup brings.
    assert line_up(rig, "default", "ann")[0][-1] == 1
    rig.leave(("line", "eve"))
    rig.set_clock(opens_at)
    rig.sweep()
    assert rig.rank()
    # Each lane counts those who are still to come to it, in front of those who are late.
    assert line_up(rig, "members", "fay")[0] == [WAITING, 5, 3, 3, 0, 1]
    assert line_up(rig, "default", "gus")[0] == [WAITING, 6, 3, 3, 0, 2]
    rig.leave(("line", "bob"))
    assert rig.status("fay", "gus") == [[WAITING, 5, 2, 2, 0, 1], [WAITING, 6, 3, 3, 0, 2]]
    rig.place(0, "cid", "ann")
    assert rig.status("fay", "gus") == [[WAITING, 5, 2, 2, 0, 1], [WAITING, 6, 3, 3, 0, 2]]
    rig.place(2, "dan", "bob")
    # One of them is inside.
    assert sorted(rig.waiting() + members(rig) + list(rig.inside())) == ["ann", "cid", "dan", "fay", "gus"]
    assert (rig.waiting(), members(rig)) == (["dan", "gus"], ["ann", "fay"])
    rig.close()


def test_while_an_older_system_is_followed_only_users_with_streams_are_admitted_from_any_lane(
    rig: Rig,
) -> None:
    rig.follow = ("on", 60_000)
    line_up(rig, "members", "ann", "bob")
    line_up(rig, "default", "cid")
    rig.presence("here", ("arrived", "ann"))
    rig.sweep()
    rig.events()
    rig.limits(capacity=4)
    assert [user for kind, user, _ in rig.events() if kind == "ADMITTED"] == ["ann"]
    rig.presence("here", ("arrived", "cid"))
    rig.sweep()
    assert [user for kind, user, _ in rig.events() if kind == "ADMITTED"] == ["cid"]


def test_waits_are_known_in_every_lane(rig: Rig) -> None:
    rig.sweep(absent=0)
    line_up(rig, "members", "ann")
    rig.advance(1_000)
    rig.sweep(absent=0)
    line_up(rig, "default", "bob", "cid")
    for _ in range(9):
        rig.advance(1_000)
        rig.sweep(absent=0)
    # The mark of ann's ticket stays although the head of lane default has a later one.
    assert rig.limits(capacity=4).waits == (9.5, 8.5, 8.5)


def arrive(rig: Rig, lane: str, *users: str) -> list[list[int]]:
    rig.wanted.update(dict.fromkeys(users, lane))
    return rig.arrive(*users)


def test_the_gate_lines_up_in_lanes_too(rig: Rig) -> None:
    line_up(rig, "default", "ann")
    assert arrive(rig, "members", "cid", "ann", "cid") == [
        [WAITING, 2, 1, 1, 1, 1],
        [WAITING, 1, 1, 1, 0, 2],
        [WAITING, 2, 1, 1, 0, 1],
    ]
    # Who has a place keeps its lane.
    assert arrive(rig, "default", "cid", "dan") == [[WAITING, 2, 1, 1, 0, 1], [WAITING, 3, 2, 2, 1, 2]]
    assert (rig.waiting(), members(rig)) == (["ann", "dan"], ["cid"])
    assert (lane_of(rig, "cid"), lane_of(rig, "dan")) == ("members", None)


def test_a_lane_that_goes_while_users_register_leaves_no_count_behind(rig: Rig) -> None:
    """Else a later opening would take so many users for users of the lane."""
    configured = rig.rules
    rig.set_rules(opens_at=START + 5_000, prequeue=10_000)
    rig.gather()
    line_up(rig, "members", "ann", "bob")
    rig.rules = f"opens_at={START + 5_000} prequeue=10000"
    rig.configure(0, 1_000_000)
    rig.sweep()
    rig.rules = f"{configured} {rig.rules}"
    rig.configure(0, 1_000_000)
    rig.set_clock(START + 5_000)
    rig.sweep()
    assert rig.rank()
    # Both come to lane default, in front of the one who is late.
    assert line_up(rig, "members", "cid") == [[WAITING, 3, 1, 1, 0, 1]]
    assert line_up(rig, "default", "dan") == [[WAITING, 4, 3, 3, 0, 2]]


def test_the_gate_registers_for_a_lane(rig: Rig) -> None:
    rig.set_rules(opens_at=START + 5_000, prequeue=10_000)
    rig.gather()
    [answer] = arrive(rig, "members", "cid")
    assert (answer[0], answer[-1], lane_of(rig, "cid")) == (REGISTERED, 1, "members")


def test_who_loses_a_slot_at_the_gate_and_is_lined_up_by_the_same_call_has_the_lane(rig: Rig) -> None:
    rig.set_rules(claim=1_000)
    line_up(rig, "members", "cid")
    assert free_one_slot(rig) == ["cid"]
    assert lane_of(rig, "cid") == "members"
    # The second time for the same ticket cid is removed, and not parked.
    rig.client.zadd(rig.keys.missed, {"cid": rig.client.zscore(rig.keys.tickets, "cid")})
    line_up(rig, "default", "ann", "bob")
    rig.advance(1_000)
    assert [answer[:4] for answer in arrive(rig, "members", "cid")] == [[WAITING, 4, 1, 1]]
    assert (members(rig), lane_of(rig, "cid")) == (["cid"], "members")
    assert rig.status("cid") == [[WAITING, 4, 1, 1, 0, 1]]


def test_a_place_that_an_older_system_gives_counts_at_the_gate(rig: Rig) -> None:
    line_up(rig, "members", "cid")
    rig.client.zadd(rig.keys.line, {"cid": 7})
    rig.client.zrem(rig.keys.of_lanes(["members"])[1], "cid")
    assert rig.gate("cid") == [[WAITING, 7, 1, 1, 0, 2]]


def test_in_front_is_in_front_of_the_own_lane(rig: Rig) -> None:
    line_up(rig, "default", "ann", "bob")
    line_up(rig, "members", "cid", "dan")
    assert rig.front("dan") == "-1"
    assert rig.status("dan", "cid", "ann") == [
        [WAITING, -1, 1, 2, 0, 1],
        [WAITING, 3, 2, 2, 0, 1],
        [WAITING, 1, 1, 2, 0, 2],
    ]
    assert (rig.waiting(), members(rig), lane_of(rig, "dan")) == (["ann", "bob"], ["dan", "cid"], "members")
    # Who is the first of the lane keeps the ticket, also if another lane has lower ones.
    rig.leave(("line", "dan"))
    assert [rig.front(user) for user in ("bob", "cid", "bob")] == ["-2", "3", "-2"]
    assert rig.front("ann") == "-3"
    assert numbers(rig) == {"members": 1, "default": 2}


def test_the_first_of_a_lane_keeps_the_ticket_whoever_of_another_lane_is_parked(rig: Rig) -> None:
    line_up(rig, "default", "ann")
    line_up(rig, "members", "bob", "cid", "dan")
    rig.sweep(absent=2_000)
    rig.advance(2_000)
    rig.status("cid", "dan")
    rig.sweep()
    assert set(rig.parked()) == {"ann", "bob"}
    # bob would be ahead of cid.
    assert rig.front("cid") == "-1"
    rig.front("bob")
    assert rig.front("cid") == "-3"
    # ann is in another lane.
    rig.leave(("line", "bob"))
    before = rig.tally()["fronted"]
    assert rig.front("cid") == "-3"
    assert rig.front("ann") == "1"
    assert rig.tally()["fronted"] == before
    assert [entry[1] for entry in rig.history("ann")][-1] == "PARKED"


def test_the_first_of_a_lane_keeps_the_ticket_whoever_of_another_lane_has_yet_to_claim(rig: Rig) -> None:
    rig.set_rules(claim=5_000)
    line_up(rig, "default", "ann")
    line_up(rig, "members", "bob", "cid")
    assert free_one_slot(rig) == ["ann"]
    assert rig.front("bob") == "2"
    # One of the own lane may come back with a lower ticket.
    rig.limits(capacity=2)
    assert rig.front("cid") == "-1"


def test_no_ticket_in_front_is_given_in_two_lanes(rig: Rig) -> None:
    line_up(rig, "default", "ann", "bob")
    line_up(rig, "members", "cid", "dan")
    assert rig.front("bob") == "-1"
    # As if Redis had lost its last writes.
    rig.client.hdel(rig.keys.tally, "fronted")
    assert rig.front("dan") == "-2"
    # Tickets at the end go on counting.
    assert line_up(rig, "members", "eve")[0][1] == 5


def test_a_parked_user_in_front_returns_as_the_first_of_the_lane(rig: Rig) -> None:
    line_up(rig, "members", "cid", "dan")
    rig.sweep(absent=2_000)
    rig.advance(2_000)
    rig.sweep()
    rig.status("cid")
    assert set(rig.parked()) == {"dan"}
    assert rig.front("dan") == "-1"
    assert rig.status("dan", "cid") == [[WAITING, -1, 1, 2, 0, 1], [WAITING, 1, 2, 2, 0, 1]]
    assert members(rig) == ["dan", "cid"]


def test_users_in_front_are_admitted_and_swept_as_others(rig: Rig) -> None:
    line_up(rig, "default", "ann", "bob")
    line_up(rig, "members", "cid", "dan")
    rig.sweep()
    rig.front("dan")
    rig.advance(1_000)
    rig.sweep()
    admitted = [user for _ in range(4) for user in free_one_slot(rig)]
    assert admitted.index("dan") < admitted.index("cid")
    assert sorted(admitted) == ["ann", "bob", "cid", "dan"]
    assert rig.client.hgetall(rig.keys.of_lanes(["members"])[0]) == {}


def test_whether_anything_will_be_left_depends_on_all_lanes(rig: Rig) -> None:
    line_up(rig, "default", *(f"d{n}" for n in range(20)))
    line_up(rig, "members", *(f"m{n}" for n in range(20)))
    rig.run("stock", 6)
    reply = rig.run("status", 0, "d6", "d9", "m2", "m5")
    # 6 things are enough for 9 users in line, and one is inside. When it is the turn of m5, the 6th member, 14 of the
    # others have been admitted.
    states = parse_states("default", reply.summary, reply.answers)
    assert [state.unlikely for state in states] == [False, True, False, True]
