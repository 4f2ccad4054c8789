"""sweep: what time does to a room."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import NONE, START, WAITING, Rig, fill

SECOND = START // 1000
ABSENT = 60_000


def keep_sweeping(rig: Rig, seconds: int, absent: int = ABSENT) -> None:
    """A sweep each second, as the gateways do it."""
    for _ in range(seconds):
        rig.advance(1_000)
        rig.sweep(absent)


def queue(rig: Rig, *users: str) -> None:
    rig.limits(capacity=0)
    rig.sweep()
    rig.lineup(*users)
    rig.events()


def test_expired_sessions_end_and_the_next_are_admitted(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan", "eve")
    rig.advance(9_999)
    assert rig.sweep().expired == 0
    rig.advance(1)
    summary = rig.sweep()
    assert (summary.expired, summary.promoted, summary.allowed_in, summary.waiting) == (2, 2, 2, 1)
    assert rig.events() == [("ADMITTED", "cid", 1), ("ADMITTED", "dan", 2)]
    assert rig.activity() == {"cid": rig.now, "dan": rig.now}


@pytest.mark.parametrize("absent", [0, 1, ABSENT])
def test_a_paused_room_ends_sessions_but_admits_no_user(rig: Rig, absent: int) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.limits(paused=True)
    rig.advance(10_000)
    summary = rig.sweep(absent)
    assert (summary.expired, summary.promoted, summary.waiting, summary.more) == (2, 0, 1, False)


def test_one_step_removes_256_and_admits_256_and_says_that_there_is_more(rig: Rig) -> None:
    rig.capacity = 1000
    fill(rig, rig.keys.inside, [(f"i{n:04}", SECOND - 60) for n in range(600)], "hash")
    fill(rig, rig.keys.activity, [(f"i{n:04}", START - 60_000 + n) for n in range(600)], "zset")
    fill(rig, rig.keys.line, [(f"w{n:04}", n + 1) for n in range(1000)], "zset")
    steps = []
    while True:
        summary = rig.sweep(scan=0)
        assert summary.allowed_in <= 1000
        steps.append((summary.expired, summary.promoted))
        if not summary.more:
            break
    assert steps == [(256, 256), (256, 256), (88, 256), (0, 232)]
    assert [user for _, user, _ in rig.events()] == [f"w{n:04}" for n in range(1000)]


@pytest.mark.parametrize("hold", [0, 60_000])
def test_removals_by_expiry_and_absence_share_the_256_of_a_step(rig: Rig, hold: int) -> None:
    users = [f"w{n:04}" for n in range(300)]
    queue(rig)
    for at in (0, 150):
        rig.lineup(*users[at : at + 150])
    keep_sweeping(rig, 59)
    fill(rig, rig.keys.inside, [(f"i{n:04}", SECOND) for n in range(200)], "hash")
    fill(rig, rig.keys.activity, [(f"i{n:04}", START) for n in range(200)], "zset")
    rig.advance(1_000)
    steps = []
    while not steps or steps[-1].more:
        steps.append(rig.sweep(hold=hold))
    assert [(step.expired, step.evicted + step.parkings) for step in steps] == [(200, 56), (0, 244)]


def test_without_hold_absent_users_are_removed_to_the_millisecond_and_their_streams_hear_why(
    rig: Rig,
) -> None:
    rig.set_rules(hold=0)
    queue(rig, "ann", "bob")
    keep_sweeping(rig, 58)
    rig.status("bob")
    rig.advance(1_999)
    assert rig.sweep().evicted == 0
    rig.advance(1)
    assert rig.sweep().evicted == 1
    assert rig.events() == [("ABSENT", "ann", 1)]
    assert rig.status("ann")[0][0] == NONE
    assert rig.tally()["evicted"] == 1
    assert rig.waiting() == ["bob"]


@pytest.mark.parametrize("sighting", ["lineup", "status", "gate", "stream"])
def test_each_kind_of_sighting_keeps_the_place(rig: Rig, sighting: str) -> None:
    queue(rig, "ann")
    keep_sweeping(rig, 59)
    if sighting == "lineup":
        rig.lineup("ann", relineup="keep")
    elif sighting == "status":
        rig.status("ann")
    elif sighting == "gate":
        rig.gate("ann")
    else:
        rig.presence("one", ("arrived", "ann"), ("departed", "ann"))
    keep_sweeping(rig, 59)
    assert rig.waiting() == ["ann"]
    keep_sweeping(rig, 1)
    assert rig.waiting() == []


def test_the_regular_updates_are_no_sighting(rig: Rig) -> None:
    queue(rig, "ann")
    keep_sweeping(rig, 59)
    rig.status("ann", sighting=False)
    keep_sweeping(rig, 1)
    assert rig.waiting() == []


def test_a_user_with_an_open_stream_is_not_absent_until_after_its_end(rig: Rig) -> None:
    queue(rig, "ann")
    rig.presence("one", ("arrived", "ann"))
    keep_sweeping(rig, 200)
    assert rig.waiting() == ["ann"]
    rig.presence("one", ("departed", "ann"))
    keep_sweeping(rig, 59)
    assert rig.waiting() == ["ann"]
    keep_sweeping(rig, 1)
    assert rig.waiting() == []


def test_with_zero_no_user_is_ever_absent(rig: Rig) -> None:
    queue(rig, "ann")
    keep_sweeping(rig, 200, absent=0)
    assert rig.waiting() == ["ann"]


def test_a_user_whom_this_gateway_never_saw_is_not_evicted(rig: Rig) -> None:
    rig.client.zadd(rig.keys.line, {"old": 5})
    queue(rig, "ann")
    keep_sweeping(rig, 100)
    assert rig.waiting() == ["old"]
    assert rig.status("old", sighting=False)[0][:3] == [WAITING, 5, 1]


@pytest.mark.parametrize(("silence", "parked"), [(5_000, 1), (5_001, 0)])
def test_after_more_than_five_seconds_without_a_sweep_the_clock_starts_anew_for_all(
    rig: Rig, silence: int, parked: int
) -> None:
    queue(rig, "ann")
    keep_sweeping(rig, 55)
    rig.advance(silence)
    assert rig.sweep().parkings == parked
    if not parked:
        keep_sweeping(rig, 59)
        assert rig.waiting() == ["ann"]
        keep_sweeping(rig, 1)
        assert rig.waiting() == []


@pytest.mark.parametrize(
    "watch",
    [
        {},
        {"swept_at": "x", "anew_since": "0"},
        {"swept_at": START + 70_000, "anew_since": 0},
        {"anew_since": "y"},
    ],
)
def test_an_unusable_memory_of_sweeps_starts_the_clock_anew(rig: Rig, watch: dict[str, str]) -> None:
    queue(rig, "ann")
    rig.advance(ABSENT)
    rig.client.delete(rig.keys.watch)
    if watch:
        rig.client.hset(rig.keys.watch, mapping=watch)
    assert rig.sweep().evicted == 0
    keep_sweeping(rig, 60)
    assert rig.waiting() == []


def test_a_user_in_hash_and_line_is_allowed_in_and_not_evicted(rig: Rig) -> None:
    queue(rig, "ann")
    keep_sweeping(rig, 59)
    rig.advance(1_000)
    rig.client.hset(rig.keys.inside, "ann", rig.now // 1000)
    summary = rig.sweep(ABSENT, scan=0)
    assert (summary.evicted, summary.promoted, summary.allowed_in) == (0, 1, 1)
    assert rig.events() == [("ADMITTED", "ann", 1)]


@pytest.mark.parametrize("cursor", [None, "0", "x", "", "9" * 30, "-1"])
def test_one_full_scan_finds_what_no_index_knows(rig: Rig, cursor: str | None) -> None:
    fill(rig, rig.keys.inside, [(f"i{n:04}", SECOND - (60 if n % 2 else 0)) for n in range(3000)], "hash")
    fill(rig, rig.keys.line, [("i0000", 1), ("i0001", 2)], "zset")
    if cursor is not None:
        rig.client.hset(rig.keys.watch, "cursor", cursor)
    rig.sweep()
    while rig.client.hget(rig.keys.watch, "cursor") != "0" or rig.sweep(scan=0).more:
        rig.sweep()
    assert len(rig.inside()) == 1500
    assert rig.activity() == {user: int(second) * 1000 for user, second in rig.inside().items()}
    assert rig.waiting() == ["i0001"]
    assert rig.events() == [("ADMITTED", "i0000", 1)]


def test_an_index_in_the_future_begins_now(rig: Rig) -> None:
    users = [f"i{n:04}" for n in range(300)]
    fill(rig, rig.keys.inside, [(user, SECOND) for user in users], "hash")
    fill(rig, rig.keys.activity, [(user, START + 10**9) for user in users], "zset")
    assert rig.sweep(scan=0).more
    assert not rig.sweep(scan=0).more
    assert set(rig.activity().values()) == {START}


def test_the_pace_is_what_was_measured_while_a_line_stood(rig: Rig) -> None:
    rig.limits(capacity=10, duration=10_000)
    for n in range(0, 200, 50):
        rig.lineup(*(f"u{at:03}" for at in range(n, n + 50)))
    assert rig.sweep().rate == 0
    for second in range(100):
        rig.advance(1_000)
        rate = rig.sweep(0).rate
        if second == 50:
            # Ten slots of ten seconds each: one admission a second.
            assert 0.8 < rate < 1.2
    paused = rig.limits(paused=True)
    rig.advance(60_000)
    assert rig.sweep(0).rate == pytest.approx(paused.rate, rel=0.01)


def cpu_ms(rig: Rig) -> float:
    """Milliseconds of processor time that the server has used so far."""
    used = rig.client.info("cpu")
    return 1000 * float(used["used_cpu_user"] + used["used_cpu_sys"])


COMMANDS = "for n = 1, 1000 do redis.call('ZSCORE', KEYS[1], 'nobody') end"


def cpu_ms_of_commands(rig: Rig) -> float:
    """Milliseconds of processor time that a thousand of the simplest commands in a script take on this machine."""
    before = cpu_ms(rig)
    for _ in range(5):
        rig.client.eval(COMMANDS, 1, rig.keys.line)
    return (cpu_ms(rig) - before) / 5


@pytest.mark.parametrize(("history", "units"), [(0, 20), (3_600_000, 40)])
def test_a_hundred_thousand_expired_users_are_swept_in_short_steps(
    rig: Rig, history: int, units: int
) -> None:
    many = 100_000
    rig.set_rules(history=history)
    rig.limits(capacity=many)
    fill(rig, rig.keys.inside, [(f"user-{n:06}", SECOND - 60) for n in range(many)], "hash")
    fill(rig, rig.keys.activity, [(f"user-{n:06}", START - 60_000 + n % 1000) for n in range(many)], "zset")
    fill(rig, rig.keys.line, [(f"wait-{n:06}", n + 1) for n in range(many)], "zset")
    # Commands inside a script are logged as well; hardly any takes a fifth of a millisecond, every step does.
    rig.client.config_set("slowlog-log-slower-than", 200)
    rig.client.config_set("slowlog-max-len", 10_000)
    rig.client.slowlog_reset()
    steps, total, units_measured, more = 0, 0.0, [], True
    while more:
        units_measured.append(cpu_ms_of_commands(rig))
        before, until = cpu_ms(rig), steps + 20
        while more and steps < until:
            steps += 1
            more = rig.sweep(scan=500 if steps % 2 else 0).more
        total += cpu_ms(rig) - before
    cpu, unit = total / steps, sum(units_measured) / len(units_measured)
    rig.client.config_set("slowlog-log-slower-than", 10_000)
    calls = [
        entry
        for entry in rig.client.slowlog_get(10_000)
        if entry["command"].startswith(b"EVAL") and b"nobody" not in entry["command"]
    ]
    times = sorted(entry["duration"] / 1000 for entry in calls)
    median, late, longest = times[len(times) // 2], times[len(times) * 99 // 100], times[-1]
    print(
        f"{steps} steps: median {median:.2f}, 99th {late:.2f}, most {longest:.2f} ms; {cpu / unit:.1f} units"
    )
    assert steps == len(times) == -(-many // 256)
    assert len(rig.client.hkeys(rig.keys.inside)) == many
    assert rig.client.zcard(rig.keys.line) == 0
    # The clock also counts what other processes took of the core, so only what Redis itself used is judged, in units of
    # what a script's commands take here. A step of 256 users takes 10 to 14 of them, and 18 to 26 with a history, for
    # which 512 users get an entry. Both are measured in turn, so that both have the same neighbours.
    assert cpu < units * unit


def test_the_pace_follows_the_capacity_at_once(rig: Rig) -> None:
    rig.limits(capacity=10, duration=10_000)
    rig.lineup(*(f"u{n:03}" for n in range(200)))
    keep_sweeping(rig, 40)
    before = rig.sweep().rate
    assert rig.limits(capacity=20).rate == pytest.approx(2 * before, rel=0.1)


def test_users_ahead_who_give_up_make_the_wait_shorter(rig: Rig) -> None:
    rig.limits(capacity=10, duration=10_000)
    rig.lineup(*(f"u{n:03}" for n in range(200)))
    # One person a second and slot is admitted, and of the 200 in line one in a hundred gives up each second.
    for second in range(50):
        keep_sweeping(rig, 1)
        rig.leave(("line", rig.waiting()[-1]))
        if second % 2:
            rig.leave(("line", rig.waiting()[-1]))
    summary = rig.sweep()._replace(ages=())
    assert summary.abandon_rate == pytest.approx(0.012, rel=0.3)
    wait = summary.wait_at(100)
    assert wait is not None
    # dn/dt = -rate - abandon_rate * n, stepped through by hundredths of a second.
    ahead, stepped = 100.0, 0.0
    while ahead > 0:
        ahead -= (summary.rate + summary.abandon_rate * ahead) / 100
        stepped += 0.01
    assert wait == pytest.approx(stepped, rel=0.01)
    assert wait < 100 / summary.rate


def test_waits_are_known_to_half_a_second_with_tickets_of_either_system(rig: Rig) -> None:
    rig.limits(duration=600_000)
    rig.lineup("in-1", "in-2")
    keep_sweeping(rig, 3)
    waited: dict[str, int] = {}
    for second in range(4):
        rig.advance(300)
        rig.lineup(f"u{second}")
        # An older system writes no marks of its own.
        rig.client.zadd(rig.keys.line, {f"old-{second}": second * 2 + 2})
        waited[f"u{second}"] = waited[f"old-{second}"] = rig.now
        rig.advance(700)
        rig.sweep()
    keep_sweeping(rig, 5)
    summary = rig.limits(capacity=10)
    order = [user for _, user, _ in rig.events()]
    assert len(summary.waits) == len(order) == 8
    for user, wait in zip(order, summary.waits, strict=True):
        assert abs(1000 * wait - (rig.now - waited[user])) <= 500


def test_waits_are_not_guessed_before_anything_was_marked(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    assert rig.leave(("slot", "ann")) == [1]
    assert rig.limits(capacity=5).waits == ()


def test_two_sweeps_in_one_millisecond_know_what_the_first_one_knew(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.sweep()
    rig.lineup("ann")
    rig.sweep()
    rig.advance(3_000)
    assert rig.limits(capacity=1).waits == (2.5,)


def test_marks_are_bounded_by_the_line_and_go_with_it(rig: Rig) -> None:
    rig.limits(capacity=0)
    for number in range(100):
        rig.lineup(f"u{number:03}")
        keep_sweeping(rig, 1, absent=0)
    assert rig.client.zcard(rig.keys.marks) == 100
    rig.limits(capacity=60)
    rig.sweep()
    assert rig.client.zcard(rig.keys.marks) == 41
    rig.limits(capacity=200)
    keep_sweeping(rig, 2)
    assert rig.client.zcard(rig.keys.marks) == 1


@pytest.mark.parametrize("how", ["leaves", "expires", "expires, seen late"])
def test_a_session_has_its_length_whichever_script_ends_it(rig: Rig, how: str) -> None:
    rig.lineup("ann")
    rig.advance(4_000)
    rig.gate("ann")
    if how == "leaves":
        rig.advance(3_000)
        summary = rig.run("leave", "LEFT", "slot", "ann").summary
        assert summary.stays == (7.0,)
    elif how == "expires":
        rig.advance(12_000)
        assert rig.sweep().stays == (14.0,)
    else:
        rig.advance(90_000)
        assert rig.run("lineup", "ann").summary.stays == (14.0,)
        rig.advance(1_000)
        assert rig.run("leave", "LEFT", "slot", "ann").summary.stays == (1.0,)
    assert rig.client.exists(rig.keys.since) == 0


def test_a_session_that_an_older_system_began_has_no_known_length(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, "ann", SECOND)
    rig.sweep()
    assert rig.run("leave", "LEFT", "slot", "ann").summary.stays == ()
