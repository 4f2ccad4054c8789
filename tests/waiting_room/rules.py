"""What one may hold against a room from outside: its state as Redis has it, and the rules between two states."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import NamedTuple

from tests.waiting_room.rig import Event, Rig

EXACT = 2**53 - 1
SOUND_BELOW = 2**52


class Seen(NamedTuple):
    """A room's whole state at one moment."""

    line: dict[str, float]
    """In the order of the line, of all lanes."""
    inside: dict[str, str]
    activity: dict[str, float]
    absent: dict[str, float]
    since: dict[str, float]
    streams: dict[str, int]
    counter: str | None
    capacity: int
    duration: int
    paused: bool
    """Nobody is admitted."""
    override: bool
    tally: dict[str, int]
    parked: dict[str, tuple[int, int]]
    """User -> ticket, and when they were parked."""
    tickets: dict[str, float]
    claims: dict[str, int]
    """User -> when the claim window began, or how many calls have used it, negative."""
    missed: dict[str, int]
    lanes: dict[str, str]
    """User in line -> lane."""
    remembered: dict[str, str]
    """User -> lane, of lanes other than ``default``."""
    twice: set[str]
    """Users in two lanes: an older system has put them in line, too."""
    has_lanes: bool

    @property
    def idle(self) -> bool:
        """A slot is free although somebody waits for it."""
        return not self.paused and bool(self.line) and len(self.inside) < self.capacity


def look(rig: Rig) -> Seen:
    keys = rig.keys
    with rig.client.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.line, 0, -1, withscores=True)
        pipe.hgetall(keys.inside)
        pipe.zrange(keys.activity, 0, -1, withscores=True)
        pipe.zrange(keys.absent, 0, -1, withscores=True)
        pipe.zrange(keys.since, 0, -1, withscores=True)
        pipe.hgetall(keys.streams)
        pipe.get(keys.counter)
        pipe.hmget(keys.settings, "capacity", "duration_ms", "paused", "override", "doors")
        pipe.hgetall(keys.tally)
        pipe.zrange(keys.parked, 0, -1, withscores=True)
        pipe.zrange(keys.tickets, 0, -1, withscores=True)
        pipe.zrange(keys.claims, 0, -1, withscores=True)
        pipe.zrange(keys.missed, 0, -1, withscores=True)
        lanes_key, *lane_keys = keys.of_lanes(rig.lanes) or (f"{keys.line}:no-lanes",)
        pipe.hgetall(lanes_key)
        for key in lane_keys:
            pipe.zrange(key, 0, -1, withscores=True)
        found = pipe.execute()
    lanes = {user: lane for lane, places in zip(rig.lanes, found[14:], strict=True) for user, _ in places}
    places = sorted(chain(found[0], *found[14:]), key=lambda place: place[1]) if rig.lanes else found[0]
    line, inside, activity, absent, since, streams, counter, settings, tally, parked, tickets = found[:11]
    capacity, duration, paused, override, doors = settings
    return Seen(
        line=dict(places),
        inside=inside,
        activity=dict(activity),
        absent=dict(absent),
        since=dict(since),
        streams={user: int(count) for user, count in streams.items()},
        counter=counter,
        capacity=int(rig.capacity if capacity is None else capacity),
        duration=int(rig.duration if duration is None else duration),
        paused=paused == "1" or any(word in (doors or "") for word in ("sold_out", "emptying")),
        override=override == "1",
        tally={name: int(count) for name, count in tally.items()},
        parked={user: (int(dict(tickets)[user]), int(at)) for user, at in parked},
        tickets=dict(tickets),
        claims={user: int(score) for user, score in found[11]},
        missed={user: int(ticket) for user, ticket in found[12]},
        lanes=dict.fromkeys((user for user, _ in line), "default") | lanes,
        remembered=found[13],
        twice={user for user, _ in line} & lanes.keys(),
        has_lanes=bool(rig.lanes),
    )


def shown(ticket: float) -> int:
    """A ticket as answers and events show it."""
    return int(max(-EXACT, min(ticket, EXACT)))


def assert_step(
    before: Seen,
    after: Seen,
    events: Sequence[Event],
    given: dict[str, set[int]],
    lined_up: Collection[str] = (),
) -> None:
    """What holds of every call, whatever anybody else wrote before it.

    ``given``: tickets that were given out by this call; ``lined_up``: users whom it concerned if it was a lineup.
    """
    # 1: no call admits above the capacity, nor anybody while there are too many.
    assert len(after.inside) <= max(after.capacity, len(before.inside))
    # 2: whoever was admitted stood before everybody who still waits, and they came out in order.
    # Users who returned during the call, from parking or because they had not claimed a slot in time, were not there
    # for all of it.
    away = before.parked.keys() | before.claims.keys()
    # A user who lined up and was admitted within the call may have been in another lane than all those before.
    away |= given.keys() if before.has_lanes else set()
    admitted = [ticket for kind, user, ticket in events if kind == "ADMITTED" and user not in away]
    sound = all(ticket < SOUND_BELOW for ticket in before.line.values())
    for lane in set(after.lanes.values()) if not given and sound else ():
        promoted = [
            ticket
            for kind, user, ticket in events
            if kind == "ADMITTED" and user not in before.inside and before.lanes.get(user) == lane
        ]
        stayed = [
            ticket for user, ticket in after.line.items() if user in before.line and after.lanes[user] == lane
        ]
        if stayed and promoted:
            assert max(promoted) <= shown(min(stayed))
    # A ticket beyond counting counts for nothing once it is gone, so that the next may be lower.
    elsewhere = before.inside.keys() & (before.line.keys() | before.parked.keys())
    if before.line and sound and not elsewhere and len(set(before.lanes.values())) < 2:
        assert admitted == sorted(admitted)
    # 2, 12: events tell of a ticket that the user had.
    places = {user: {ticket} for user, ticket in before.line.items()}
    for user in before.claims:
        if user in before.tickets:
            places.setdefault(user, set()).add(before.tickets[user])
    for user, (ticket, _) in before.parked.items():
        places.setdefault(user, set()).add(ticket)
    for _, user, ticket in events:
        had = set(map(shown, places.get(user, ())))
        # A ticket beyond counting is replaced when a ticket is given, also that of a user who returns.
        unsound = any(each >= SOUND_BELOW for each in places.get(user, ()))
        assert ticket in had | given.get(user, set()) or unsound
    # 5: nobody is out of the line without anybody having heard why.
    told = {user for _, user, _ in events}
    for user, ticket in before.line.items():
        if user not in after.line:
            assert user in told or after.parked.get(user, (None,))[0] == shown(ticket)
        elif user in before.parked and user not in after.parked:
            # Lined up again elsewhere: of two tickets the lower counts.
            lower = min(before.parked[user][0], ticket)
            assert after.line[user] == lower or lower >= SOUND_BELOW or user in lined_up or user in told
        elif user in before.claims and user not in after.claims:
            # Likewise of a user who did not claim the slot in time.
            lower = min(before.tickets.get(user, ticket), ticket)
            replaced = max(lower, ticket) >= SOUND_BELOW
            assert after.line[user] in {ticket, lower} or replaced or user in lined_up or user in told
        elif after.line[user] != ticket:
            assert ticket >= SOUND_BELOW or user in lined_up or user in told
    for user, (ticket, _) in before.parked.items():
        if user not in after.parked:
            back = user in after.line and (after.line[user] <= ticket or user in lined_up)
            back = back or (user in after.line and ticket >= SOUND_BELOW)
            assert back or user in told
        else:
            # An operator may have put the user in front meanwhile.
            assert after.parked[user][0] == ticket or user in told
    here = len(before.line) + len(before.parked) + len(before.claims)
    assert len(events) <= here + sum(map(len, given.values()))


def assert_rules(seen: Seen) -> None:
    """What holds of a room's state between any two calls, unless somebody else wrote into it."""
    # 3
    assert not seen.line.keys() & seen.inside.keys()
    assert not seen.parked.keys() & (seen.line.keys() | seen.inside.keys())
    assert not seen.claims.keys() & seen.parked.keys()
    assert seen.tickets.keys() == seen.parked.keys() | seen.claims.keys()
    assert seen.claims.keys() <= seen.inside.keys()
    # Index in step with the hash.
    assert seen.activity.keys() == seen.inside.keys()
    for user, last in seen.activity.items():
        assert int(last) // 1000 >= float(seen.inside[user])
    # Nobody is remembered as admitted who isn't in.
    assert seen.since.keys() <= seen.inside.keys()
    # 2: tickets that can be counted on from.
    assert all(ticket < SOUND_BELOW for ticket in seen.line.values())
    # 9: only those in line are noted, and no stream counts less than once.
    assert seen.absent.keys() <= seen.line.keys()
    assert all(count > 0 for count in seen.streams.values())
