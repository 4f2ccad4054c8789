"""lineup with many users in one call: it does what a call for each of them does, with fewer commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.waiting_room.rig import ADMITTED, ALLOWED_IN, START, WAITING, Rig

USERS = [f"u{number}" for number in range(9)]
RULES = (
    "absent=2000 hold=60000 relineup=back",
    "absent=2000 relineup=keep",
    "lineups_per_minute=2 max_session=7000",
)

some = st.lists(st.sampled_from(USERS), min_size=1, max_size=4)
Step = Callable[[Rig], object]


def lineup(rig: Rig, *users: str) -> list[Any]:
    """Under the rules in force, which ``Rig.lineup`` would change."""
    return rig.run("lineup", *users).answers


def called(call: Callable[..., object], users: list[str]) -> Step:
    return lambda rig: call(rig, *users)


def left(users: list[str]) -> Step:
    return lambda rig: rig.leave(*(("both", user) for user in users))


def pass_time(rig: Rig, milliseconds: int) -> None:
    """The room is swept each second, as it must be before users count as absent."""
    for _ in range(milliseconds // 1000):
        rig.advance(1000)
        rig.sweep()
    rig.advance(milliseconds % 1000)


def later(milliseconds: int) -> Step:
    return lambda rig: pass_time(rig, milliseconds)


steps = st.lists(
    st.one_of(
        st.builds(called, st.sampled_from([lineup, Rig.gate, Rig.status]), some),
        st.builds(left, some),
        st.builds(later, st.sampled_from([1, 1000, 3000, 10_000])),
    ),
    max_size=12,
)


def state(rig: Rig) -> dict[str, Any]:
    """All that calls about users read, but for the pace of the line."""
    keys = rig.keys
    scored = (keys.line, keys.absent, keys.activity, keys.since, keys.parked, keys.tickets, keys.last_lineups)
    hashes = (keys.inside, keys.streams, keys.tally, keys.history, keys.lineups)
    found: dict[str, Any] = {
        name.partition(":")[2]: rig.client.zrange(name, 0, -1, withscores=True) for name in scored
    }
    found |= {name.partition(":")[2]: rig.client.hgetall(name) for name in hashes}
    return found | {"counter": rig.client.get(keys.counter), "events": rig.events()}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=steps,
    wait=st.sampled_from([0, 2000, 10_000]),
    users=st.lists(st.sampled_from(USERS), min_size=4, max_size=12),
    rules=st.sampled_from(RULES),
)
def test_a_batch_does_what_a_call_for_each_user_does(
    client: redis.Redis, before: Iterable[Step], wait: int, users: list[str], rules: str
) -> None:
    answers, states = [], []
    for one_call in (True, False):
        client.flushall()
        rig = Rig(client)
        try:
            rig.rules = rules
            for step in before:
                step(rig)
            rig.advance(wait)
            answers.append(lineup(rig, *users) if one_call else [lineup(rig, user)[0] for user in users])
            states.append(state(rig))
        finally:
            rig.close()
    assert answers[0] == answers[1]
    assert states[0] == states[1]


def test_who_joins_and_is_promoted_within_the_call_is_not_taken_for_one_who_waits(rig: Rig) -> None:
    rig.lineup("in1", "in2")
    rig.advance(10_000)
    # Without a sweep, nobody has noticed yet that these sessions have expired.
    now = START + 10_000
    assert [answer[0] for answer in rig.lineup("a", "b", "c", "in1", "in2")] == [WAITING] * 5
    assert rig.inside().keys() == {"a", "b"}
    assert rig.absent() == {"c": now, "in1": now, "in2": now}
    assert rig.client.get(rig.keys.counter) == "5"
    assert [event[:2] for event in rig.events()] == [("ADMITTED", "a"), ("ADMITTED", "b")]


def test_a_batch_of_new_users_takes_one_command_for_each(rig: Rig) -> None:
    rig.lineup("in1", "in2", "first")
    rig.client.config_resetstat()
    count = 256
    answers = rig.lineup(*(f"new{number}" for number in range(count)))
    assert [answer[1] for answer in answers] == list(range(2, count + 2))
    stats = rig.client.info("commandstats")
    assert sum(stat["calls"] for stat in stats.values()) < count + 60
    assert ADMITTED not in {answer[0] for answer in answers}


@pytest.mark.parametrize("script", ["lineup", "status"])
def test_parked_users_return_in_a_batch_with_others(rig: Rig, script: str) -> None:
    rig.set_rules(absent=2000, relineup="keep")
    lineup(rig, "in1", "in2", "a", "b", "c", "d")
    rig.limits(duration=10_000_000)
    for _ in range(3):
        pass_time(rig, 1000)
        rig.status("b", "d")
    assert rig.parked().keys() == {"a", "c"}
    answers = {"lineup": lineup, "status": Rig.status}[script](rig, "b", "c", "d", "in1", "a")
    assert [answer[:3] for answer in answers] == [
        [WAITING, 2, 1],
        [WAITING, 3, 2],
        [WAITING, 4, 3],
        [ALLOWED_IN, 0, 0],
        [WAITING, 1, 1],
    ]
    assert rig.parked() == {}
    assert rig.waiting() == ["a", "b", "c", "d"]
