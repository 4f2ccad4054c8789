"""The executable specification: a room in plain Python, as the contract describes it.

Lists and dicts, no cleverness: it is to be read beside the contract's section 2. Times in milliseconds. One call of
a method is one call of a script; what it publishes is appended to ``events``.
"""

from __future__ import annotations

from fractions import Fraction

NONE, WAITING, ALLOWED_IN, ADMITTED, FULL, ROOM_FULL, TOO_MANY_LINEUPS = range(7)
NOT_ELIGIBLE, REGISTERED, CLOSED, UNPREPARED, SOLD_OUT = range(7, 12)
NOTHING, SLOT, PLACE = range(3)
BLIND = 5_000

MINUTE = 60_000

FIRST_CALLS = 8
"""So many calls after a promotion are remembered, until it is clear that one has reached the service."""

OWED = 1_000_000
"""What lanes are owed is counted in such parts of an admission."""

Answer = tuple[int, ...]
"""Code, ticket, position, how many wait, what is left of the session; and until when the slot must be claimed, or of a
user in line the number of the lane, if there are lanes."""


def by_age(times: dict[str, int]) -> list[str]:
    return sorted(times, key=lambda user: (times[user], user))


class Bucket:
    """Tokens for admissions: those of one second, at least one; full at first, refilled evenly."""

    def __init__(self, now: int) -> None:
        self.rate: Fraction | None = None
        """Per millisecond; None: no limit."""
        self._tokens, self._at = Fraction(0), now

    def set_rate(self, rate: str, now: int) -> None:
        """``rate``: as ``120/m``, or ``off``. What there is stays, as far as the new bucket holds it."""
        kept = self._left(now)
        count, _, unit = rate.partition("/")
        self.rate = None if rate == "off" else Fraction(int(count), {"s": 1, "m": 60, "h": 3600}[unit] * 1000)
        self._at = now
        if self.rate is not None:
            self._tokens = self._most() if kept is None else min(kept, self._most())

    def whole(self, now: int) -> float:
        """How many users may be admitted now."""
        left = self._left(now)
        return float("inf") if left is None else left // 1

    def take(self, now: int, count: int = 1) -> None:
        """So many are admitted. There must be a token for each."""
        assert count <= self.whole(now), f"{count} admitted with {self._left(now)} tokens"
        self._tokens, self._at = (self._left(now) or Fraction(0)) - count, now

    def _most(self) -> Fraction:
        return max(Fraction(1), (self.rate or Fraction(0)) * 1000)

    def _left(self, now: int) -> Fraction | None:
        if self.rate is None:
            return None
        return min(self._most(), self._tokens + (now - self._at) * self.rate)


class Model:
    def __init__(self, capacity: int, duration: int, now: int, most: int = 256) -> None:
        self.now = now
        self.most = most
        self.given = (capacity, duration)
        self.declared: tuple[int, int] | None = None
        self.hold = 1_800_000
        self.capacity, self.duration = capacity, duration
        self.max_session = 0
        self.max_waiting = 0
        self.lineups_per_minute = 0
        self.lineups: dict[str, list[int]] = {}
        """User -> when they lined up and were not refused."""
        self.bucket = Bucket(now)
        self.claim = 0
        self.windows: dict[str, int] = {}
        """User inside -> when the time to claim the slot began."""
        self.first_calls: dict[str, int] = {}
        """User inside -> how many calls have claimed the slot, as long as they are few."""
        self.promoted_with: dict[str, int] = {}
        """User in one of these two -> the ticket."""
        self.missed: dict[str, int] = {}
        """User -> the ticket for which a slot was not claimed."""
        self.kept_for = 3_600_000
        """How long a history is kept after the end; 0: there is none."""
        self.history: dict[str, list[tuple[int, str, str | None, int | None]]] = {}
        """User -> when, what, why, and with which ticket; the last 50."""
        self.overridden: set[str] = set()
        self.paused = False
        self.closed = False
        self.opens_at = 0
        """When a closed room opens by itself; 0: never."""
        self.sold_out = False
        self.emptying: tuple[int, int] | None = None
        """The highest ticket, and the last moment of parking, of those who are still to be removed."""
        self.out_of_memory = False
        self.counter = 0
        self.line: list[tuple[str, int]] = []
        """User and ticket, the next first; of all lanes."""
        self.shares: dict[str, int] = {}
        """The lanes beside ``default``, with their shares in parts of 10,000; 0: it is no longer configured."""
        self.lanes: dict[str, str] = {}
        """User in line, parked, or yet to claim a slot -> lane; who is missing is in ``default``."""
        self.owed: dict[str, int] = {}
        """Lane -> what it is owed of the admissions."""
        self.inside: dict[str, int] = {}
        """User -> when they were last active. Who has expired holds the slot until somebody clears up."""
        self.began: dict[str, int] = {}
        """User inside -> when they were admitted."""
        self.lined_up: dict[int, int] = {}
        """Ticket -> when it was given, if there had been a sweep before: else nobody can know afterwards."""
        self.waits: list[tuple[int, bool]] = []
        """How long those had waited whom the last call admitted from the line, and whether that must be known: of
        tickets that were parked it may be forgotten."""
        self.stays: list[int] = []
        """How long the sessions had lasted that the last call ended."""
        self.seen: dict[str, int] = {}
        """User in line -> last sighting; who was never sighted is missing."""
        self.parked: dict[str, tuple[int, int]] = {}
        """User -> ticket, and when they were parked."""
        self.once_parked: set[int] = set()
        """Tickets that were parked at some time."""
        self.here: dict[str, set[str]] = {}
        """Instance -> users with a stream there."""
        self.beats: dict[str, int] = {}
        self.swept_at: int | None = None
        self.watching_since = 0
        self.events: list[tuple[str, str, int]] = []
        self.tally = dict.fromkeys(
            (
                *("admitted", "promoted", "expired", "evicted", "left", "removed", "lineups"),
                *("parkings", "returns", "lapsed", "unclaimed", "moved", "fronted"),
            ),
            0,
        )
        self.unfinished = False
        self._admissions_left = most
        self._wanted = "default"

    # What can be asked

    def live(self, user: str) -> bool:
        return user in self.inside and self.now < self._end_of(user)

    def _end_of(self, user: str) -> int:
        """When the session ends: by time without a gated call, or by its absolute end."""
        ends = [self.inside[user] + self.duration]
        if self.max_session:
            ends.append(self.began[user] + self.max_session)
        return min(ends)

    def position(self, user: str) -> int:
        """1 is next in the lane; 0: not in line."""
        return next((at for at, (name, _) in enumerate(self.of_lane(self.lane(user)), 1) if name == user), 0)

    def lane(self, user: str) -> str:
        name = self.lanes.get(user, "default")
        return name if name in self.shares else "default"

    def of_lane(self, lane: str) -> list[tuple[str, int]]:
        """Those who wait in it, the next first."""
        return [place for place in self.line if self.lane(place[0]) == lane]

    @property
    def weights(self) -> dict[str, int]:
        return {**self.shares, "default": max(0, 10_000 - sum(self.shares.values()))}

    def present(self, user: str) -> bool:
        return any(user in users for users in self.here.values())

    def more(self) -> bool:
        """Whether a call that ends like this has to be followed by another at once."""
        return self.unfinished or self._could_promote()

    @property
    def admits_none(self) -> bool:
        return self.paused or self.sold_out or self.emptying is not None

    @property
    def takes_none(self) -> bool:
        return self.closed and not 0 < self.opens_at <= self.now

    def _could_promote(self) -> bool:
        free = len(self.inside) < self.capacity and self.bucket.whole(self.now) > 0
        return not self.admits_none and free and bool(self.line)

    # What a script's call does

    def lineup(self, users: list[str], relineup: str, wanted: str = "default") -> list[Answer]:
        """``wanted``: the lane of those who get a new ticket."""
        self._begin()
        self._wanted = wanted
        self._promote()
        self._lapse(users)
        return [self._line_up_again(user, relineup) for user in users]

    def _line_up_again(self, user: str, relineup: str) -> Answer:
        """Unless the user has done so too often."""
        most, times = self.lineups_per_minute, self.lineups.get(user, [])
        if most and len(times) >= most and self.now - times[-most] < MINUTE:
            if not self._come_back(user) and self.position(user):
                self.seen[user] = self.now
            return (TOO_MANY_LINEUPS, 0, 0, len(self.line), times[-most] + MINUTE - self.now)
        answer = self._line_up(user, relineup)
        if most and answer[0] <= ADMITTED:
            # What was forgotten while a lower number held counts no longer.
            self.lineups[user] = [*times, self.now][-most:]
        return answer

    def _line_up(self, user: str, relineup: str) -> Answer:
        if user in self.inside and not self.live(user):
            self._expire(user)
            self._promote()
            if self.live(user):
                return self._inside(user, ADMITTED)
        if self.live(user):
            return self._inside(user, ALLOWED_IN)
        if self.sold_out:
            return (SOLD_OUT, 0, 0, len(self.line), 0)
        if self._come_back(user):
            return self._inside(user, ADMITTED) if self.live(user) else self._waiting(user)
        position = self.position(user)
        if position and relineup == "keep":
            self.seen[user] = self.now
            return self._waiting(user)
        if self.takes_none and not position:
            return (CLOSED, 0, 0, len(self.line), 0, self.opens_at)
        if self.out_of_memory and not position:
            return (FULL, 0, 0, len(self.line), 0)
        full = len(self.inside) >= self.capacity or self._admissions_left == 0
        full = full or self.bucket.whole(self.now) == 0
        if position or self.admits_none or self.line or full:
            if not position and self.max_waiting and len(self.line) + len(self.parked) >= self.max_waiting:
                return (ROOM_FULL, 0, 0, len(self.line), 0)
            self.line = [place for place in self.line if place[0] != user]
            self.counter = max([self.counter, *(ticket for _, ticket in self.line)]) + 1
            self.lanes.pop(user, None)
            if self.shares.get(self._wanted):
                self.lanes[user] = self._wanted
            self.line.append((user, self.counter))
            if self.swept_at is not None:
                self.lined_up[self.counter] = self.now
            self.tally["lineups"] += 1
            self._note(user, "MOVED" if position else "JOINED", ticket=self.counter)
            self.missed.pop(user, None)
            self.seen[user] = self.now
            return self._waiting(user)
        self._admissions_left -= 1
        self._admit(user)
        self._note(user, "ADMITTED")
        return self._inside(user, ADMITTED)

    def status(self, users: list[str], sighting: bool) -> list[Answer]:
        self._begin()
        self._lapse(users)
        return [self._look(user, sighting) for user in users]

    def gate(self, users: list[str]) -> list[Answer]:
        self._begin()
        self._lapse(users)
        answers = []
        for user in users:
            if not self.live(user) and not self.sold_out:
                self._come_back(user)
            if self.live(user):
                self.inside[user] = self.now
                answers.append((*self._inside(user, ALLOWED_IN)[:5], *self._claim(user)))
            else:
                answers.append(self._look(user, True))
        return answers

    def arrive(self, users: list[str], wanted: str = "default") -> list[Answer]:
        """The gate, which lines up users without a place, in the lane ``wanted``."""
        self._begin()
        self._wanted = wanted
        self._lapse(users)
        answers, lined_up = [], False
        for user in users:
            if not self.live(user) and not self.sold_out:
                self._come_back(user)
            if self.live(user):
                self.inside[user] = self.now
                answers.append((*self._inside(user, ALLOWED_IN)[:5], *self._claim(user)))
            elif self.sold_out or self.position(user):
                answers.append(self._look(user, True))
            else:
                if not lined_up:
                    self._promote()
                lined_up = True
                answer = self._line_up_again(user, "keep")
                # Then the fifth says that it was this call.
                answers.append((*answer[:4], 1, *answer[5:]) if answer[0] == WAITING else answer)
        return answers

    def reopen(self, users: list[str]) -> None:
        """A call of each was answered by the gateway itself, because the service could not be reached."""
        self._begin()
        for user in users:
            if self.claim and user in self.first_calls and self.live(user):
                self.first_calls[user] -= 1
                if not self.first_calls[user]:
                    del self.first_calls[user]
                    self.windows[user] = self.now

    def _claim(self, user: str) -> tuple[int, ...]:
        """A call passes. Returns what the answer says besides: whether it is one of the first."""
        if user in self.windows:
            del self.windows[user]
            self.first_calls[user] = 0
            self._note(user, "CLAIMED")
        if user not in self.first_calls:
            return ()
        self.first_calls[user] += 1
        if self.first_calls[user] > FIRST_CALLS:
            self._close_window(user)
            return ()
        return (-1,)

    def _look(self, user: str, sighting: bool) -> Answer:
        if self.sold_out and not self.live(user):
            return (SOLD_OUT, 0, 0, len(self.line), 0)
        self._come_back(user)
        if self.live(user):
            return self._inside(user, ALLOWED_IN)
        if not self.position(user):
            return self._none()
        if sighting:
            self.seen[user] = self.now
        return self._waiting(user)

    def leave(self, pairs: list[tuple[str, str]], reason: str) -> list[int]:
        self._begin()
        codes = [self._give_up(what, user, reason) for what, user in pairs]
        self._promote()
        return codes

    def _give_up(self, what: str, user: str, reason: str) -> int:
        self._lapse([user])
        counted = "removed" if reason == "OPERATOR" else "left"
        if self.live(user):
            if what == "line":
                return NOTHING
            self._end(user)
            self.tally[counted] += 1
            self._note_leave(user, reason)
            self._promote()
            return SLOT
        code = NOTHING
        if what != "slot" and (self.position(user) or user in self.parked):
            ticket = self._remove(user, reason)
            self.tally[counted] += 1
            self._note_leave(user, reason, ticket)
            code = PLACE
        if user in self.inside:
            self._expire(user)
            self._promote()
        return code

    def move(self, giver: str, taker: str) -> list[object]:
        """Whether the giver had something, and where the taker stands."""
        self._begin()
        for user in (giver, taker):
            self._lapse([user])
            if user in self.inside and not self.live(user):
                self._expire(user)
                self._promote()
            self._come_back(user)
        had = self.live(giver) or self.position(giver) > 0
        lane = self.lanes.get(giver)
        if self.live(giver) and self.live(taker):
            self._end(giver)
            self._note(giver, "LEFT", "TRANSFER")
            self.tally["left"] += 1
            self._promote()
        elif self.live(giver):
            self._move_slot(giver, taker)
            self._set_lane(taker, lane)
        elif self.position(giver):
            moved = dict(self.line)[giver]
            self._move_place(giver, taker)
            if dict(self.line).get(taker) == moved:
                self._set_lane(taker, lane)
        if had:
            self.lanes.pop(giver, None)
        self.tally["moved"] += had
        if self.position(taker):
            self.seen[taker] = self.now
            return [int(had), self._waiting(taker)]
        return [int(had), self._inside(taker, ALLOWED_IN) if self.live(taker) else self._none()]

    def _set_lane(self, user: str, lane: str | None) -> None:
        self.lanes.pop(user, None)
        if lane is not None:
            self.lanes[user] = lane

    def _move_slot(self, giver: str, taker: str) -> None:
        if self.position(taker):
            self.tally["promoted"] += 1
            self._note(taker, "PROMOTED", ticket=self._remove(taker, "ADMITTED"))
        of_users = (self.inside, self.began, self.windows, self.first_calls, self.promoted_with, self.missed)
        for of in of_users:
            of.pop(taker, None)
            if giver in of:
                of[taker] = of.pop(giver)
        self._note(taker, "MOVED", "TRANSFER")
        self._note(giver, "LEFT", "TRANSFER")

    def _move_place(self, giver: str, taker: str) -> None:
        tickets = dict(self.line)
        once, own = self.missed.get(giver), self.missed.get(taker)
        self._note(giver, "LEFT", "TRANSFER", self._remove(giver, "MOVED"))
        if self.live(taker):
            return
        ticket = min(tickets[giver], tickets.get(taker, tickets[giver]))
        self.line = sorted(
            [*(place for place in self.line if place[0] != taker), (taker, ticket)],
            key=lambda place: place[1],
        )
        self.missed.pop(taker, None)
        if ticket == tickets[giver]:
            self._note(taker, "MOVED", "TRANSFER", ticket)
        kept = once if ticket == tickets[giver] else own
        if kept is not None:
            self.missed[taker] = kept

    def front(self, user: str) -> str:
        """An operator puts a user in front of all others. Returns the ticket as text, empty without a place."""
        self._begin()
        self._lapse([user])
        if self.live(user) or not (self.position(user) or user in self.parked):
            return ""
        away = [*(ticket for ticket, _ in self.parked.values()), *self.promoted_with.values()]
        own = self.parked[user][0] if user in self.parked else dict(self.line)[user]
        ticket, lane = own, self.lane(user)
        kept = {name: ticket for name, (ticket, _) in self.parked.items()} | self.promoted_with
        beside = [ticket for name, ticket in kept.items() if self.lane(name) == lane]
        if own != min([*(ticket for _, ticket in self.of_lane(lane)), *beside]):
            self.tally["fronted"] += 1
            lowest = min([*(ticket for _, ticket in self.line), *away])
            ticket = min(lowest - 1, -self.tally["fronted"])
            if user in self.parked:
                self.parked[user] = (ticket, self.parked[user][1])
                self.once_parked.add(ticket)
            else:
                self.line = [(user, ticket), *(place for place in self.line if place[0] != user)]
            self.missed.pop(user, None)
            self._note(user, "FRONT", ticket=ticket)
            self.events.append(("FRONT", user, ticket))
        self._promote()
        return str(ticket)

    def sweep(self, absent: int, hold: int) -> None:
        self._begin()
        self.hold = hold
        if self.swept_at is None or not 0 <= self.now - self.swept_at <= BLIND:
            self.watching_since = self.now
        self.swept_at = self.now
        overdue = [user for user in by_age(self.windows) if self.now - self.windows[user] >= self.claim]
        overdue = overdue[: self.most] if self.claim else []
        self._lapse(overdue, promote=False)
        for user in overdue:
            if user in self.windows:
                self._close_window(user)
        most = self.most - len(overdue)
        idle = [user for user in by_age(self.inside) if self.now - self.inside[user] >= self.duration]
        idle = idle[:most]
        old = [user for user in by_age(self.began) if self.max_session and not self.live(user)]
        old = [user for user in old if self.now - self.began[user] >= self.max_session]
        over = [*idle, *(user for user in old[: most - len(idle)] if user not in idle)]
        for user in over:
            self._expire(user)
        watched = self.now - self.watching_since >= absent
        held = sorted(self.parked, key=lambda user: (self.parked[user][1], user)) if watched else []
        held = [user for user in held if self.now - self.parked[user][1] >= hold][: most - len(over)]
        for user in held:
            self._evict(user)
        gone = []
        if absent and watched and not self.sold_out and not self.emptying:
            gone = [user for user in by_age(self.seen) if self.now - self.seen[user] >= absent]
        gone = gone[: most - len(over) - len(held)]
        for user in gone:
            if self.present(user):
                del self.seen[user]
            elif hold:
                self._park(user)
            else:
                self._evict(user)
        looked = len(over) + len(held) + len(gone)
        looked += self._end_places(most - looked)
        moved = self._close_lanes()
        self._promote()
        forgotten = self._forget()
        self.unfinished = looked >= most or forgotten >= self.most or moved >= self.most

    def _close_lanes(self) -> int:
        moved = 0
        for lane in [lane for lane, share in self.shares.items() if not share]:
            for user, ticket in self.of_lane(lane)[: self.most]:
                del self.lanes[user]
                self._note(user, "MOVED", "LANE", ticket)
                moved += 1
            if not self.of_lane(lane):
                del self.shares[lane]
                self.lanes = {user: own for user, own in self.lanes.items() if own != lane}
        if not self.shares:
            self.lanes.clear()
            self.owed.clear()
        return moved

    def limits(self, capacity: int | None, duration: int | None, paused: bool | None, lift: bool) -> None:
        self._begin()
        if lift:
            self.overridden.clear()
            self.capacity, self.duration = self.declared or self.given
        given = {"capacity": capacity, "duration": duration}
        self.overridden |= {name for name, value in given.items() if value is not None}
        self.capacity = self.capacity if capacity is None else capacity
        self.duration = self.duration if duration is None else duration
        self.paused = self.paused if paused is None else paused
        self._promote()

    def doors(self, act: str, until: int = 0) -> None:
        self._begin()
        if act == "close":
            self.closed, self.opens_at = True, until
        elif act == "reopen":
            self.closed = self.sold_out = False
        elif act == "sold_out":
            self.sold_out = True
        else:
            tickets = [*(ticket for _, ticket in self.line), *(ticket for ticket, _ in self.parked.values())]
            self.emptying = max([self.counter, *tickets]), self.now
        self._end_places(self.most)
        self._promote()
        ending = self.sold_out or self.emptying is not None
        self.unfinished = ending and bool(self.line or self.parked)

    def _end_places(self, most: int) -> int:
        """Some of those who lose their places do so now. Returns how many."""
        if most <= 0 or not (self.sold_out or self.emptying):
            return 0
        ticket, parked_at = (float("inf"),) * 2 if self.sold_out else self.emptying or (0, 0)
        users = [
            user for lane in ("default", *self.shares) for user, own in self.of_lane(lane) if own <= ticket
        ]
        parked = sorted(self.parked, key=lambda user: (self.parked[user][1], user))
        users += [user for user in parked if self.parked[user][1] <= parked_at]
        for user in users[:most]:
            why = "SOLD_OUT" if self.sold_out else "OPERATOR"
            self._note(user, "REMOVED", why, self._remove(user, why))
            self.tally["removed"] += 1
        if not self.sold_out and len(users) < most:
            self.emptying = None
        return len(users[:most])

    def set_rate(self, rate: str) -> None:
        self._begin()
        self.bucket.set_rate(rate, self.now)
        self._promote()

    def configure(self, capacity: int, duration: int, shares: dict[str, int] | None = None) -> None:
        """``shares``: of the lanes. Those that are no longer configured stay until their users have been moved."""
        self._begin()
        if shares is not None:
            self.shares = {**shares, **dict.fromkeys((lane for lane in self.shares if lane not in shares), 0)}
        self.given = (capacity, duration)
        old = self.declared or (None, None)
        if "capacity" not in self.overridden and capacity != old[0]:
            self.capacity = capacity
        if "duration" not in self.overridden and duration != old[1]:
            self.duration = duration
        self.declared = self.given
        self._promote()

    def presence(self, instance: str, pairs: list[tuple[str, str]]) -> None:
        """Users arrived or departed; all in one call, which admits a bounded number of them."""
        self._begin()
        for what, user in pairs:
            (self.arrived if what == "arrived" else self.departed)(instance, user)

    def arrived(self, instance: str, user: str) -> None:
        self._come_back(user)
        users = self.here.setdefault(instance, set())
        if user not in users and self.position(user):
            self.seen[user] = self.now
        users.add(user)

    def departed(self, instance: str, user: str) -> None:
        if user in self.here.get(instance, ()):
            self.here[instance].discard(user)
            if self.position(user):
                self.seen[user] = self.now

    def beat(self, instance: str, dead: int) -> tuple[bool, set[str]]:
        unknown = instance not in self.beats
        self.beats[instance] = self.now
        return unknown, {name for name, last in self.beats.items() if self.now - last >= dead}

    def drain(self, instance: str, dead: int) -> None:
        """An instance died: its users were last seen at its last beat, unless somebody saw them later."""
        if instance not in self.beats or self.now - self.beats[instance] < dead:
            return
        last = self.beats.pop(instance)
        for user in self.here.pop(instance, set()):
            if self.position(user):
                self.seen[user] = max(last, self.seen.get(user, last))

    # Parts

    def _begin(self) -> None:
        self.unfinished = False
        self.waits, self.stays = [], []
        self._admissions_left = self.most

    def _admit(self, user: str) -> None:
        self.inside[user] = self.began[user] = self.now
        self.bucket.take(self.now)
        self.tally["admitted"] += 1

    def _expire(self, user: str) -> None:
        self._end(user)
        self._note(user, "EXPIRED")
        self.tally["expired"] += 1

    def _end(self, user: str) -> None:
        """The session is over, or was when it expired."""
        ended = min(self.now, self._end_of(user))
        self._close_window(user)
        del self.inside[user]
        self.stays.append(ended - self.began.pop(user))

    def _promote(self) -> None:
        """Deals what can be admitted to the lanes, and admits from each by ticket."""
        while self._could_promote() and self._admissions_left > 0:
            free, tokens = self.capacity - len(self.inside), self.bucket.whole(self.now)
            count = int(min(free, len(self.line), self._admissions_left, tokens))
            dealt = self._deal(count) if self.shares else ["default"] * count
            for lane in self.weights:
                for _ in range(dealt.count(lane)):
                    self._promote_next(lane)

    def _deal(self, count: int) -> list[str]:
        """Which lane gives each of the next users: the one that is owed most. In each round all lanes that have users
        are owed their parts of the admission."""
        dealt = []
        left = {lane: len(self.of_lane(lane)) for lane in self.weights}
        if not self.owed.keys() <= left.keys():
            self.owed.clear()
        owed = {lane: self.owed.get(lane, 0) for lane in left}
        for _ in range(count):
            busy = {lane: self.weights[lane] for lane in left if left[lane]}
            whole = sum(busy.values())
            if not whole:
                busy, whole = dict.fromkeys(busy, 1), len(busy)
            parts = {lane: OWED * weight // whole for lane, weight in busy.items()}
            for lane in left.keys() - busy.keys():
                assert -OWED * 9 <= owed[lane] <= OWED * 9
            for lane in (lane for lane in left if lane not in busy and owed[lane] > 0):
                self._pass_on(lane, owed, parts)
            for lane in busy:
                owed[lane] += parts[lane]
            best = max(busy, key=lambda lane: owed[lane])
            owed[best] -= sum(parts.values())
            left[best] -= 1
            dealt.append(best)
        self.owed = owed
        return dealt

    @staticmethod
    def _pass_on(lane: str, owed: dict[str, int], parts: dict[str, int]) -> None:
        """What a lane without users is owed goes to those that have some."""
        amount, owed[lane] = owed[lane], 0
        given = {other: amount * part // sum(parts.values()) for other, part in parts.items() if part}
        given[next(iter(given))] += amount - sum(given.values())
        for other, more in given.items():
            owed[other] += more

    def _promote_next(self, lane: str) -> None:
        user, ticket = self.of_lane(lane)[0]
        self._admissions_left -= 1
        if ticket in self.lined_up:
            self.waits.append((self.now - self.lined_up[ticket], ticket not in self.once_parked))
        once, lane_of_user = self.missed.get(user), self.lanes.get(user)
        self._remove(user, "ADMITTED")
        self._admit(user)
        self._note(user, "PROMOTED", ticket=ticket)
        if self.claim:
            self._set_lane(user, lane_of_user)
            self.windows[user], self.promoted_with[user] = self.now, ticket
            if once is not None:
                self.missed[user] = once
        self.tally["promoted"] += 1

    def _evict(self, user: str) -> None:
        self._note(user, "REMOVED", "ABSENT", self._remove(user, "ABSENT"))
        self.tally["evicted"] += 1

    def _remove(self, user: str, event: str) -> int:
        """Out of the line, and everybody hears of it. Returns the ticket."""
        ticket = self.parked.pop(user)[0] if user in self.parked else dict(self.line)[user]
        self.line = [place for place in self.line if place[0] != user]
        self.seen.pop(user, None)
        self.missed.pop(user, None)
        self.lanes.pop(user, None)
        self.events.append((event, user, ticket))
        return ticket

    def _close_window(self, user: str) -> None:
        if user in self.promoted_with:
            self.lanes.pop(user, None)
        self.windows.pop(user, None)
        self.first_calls.pop(user, None)
        self.promoted_with.pop(user, None)
        self.missed.pop(user, None)

    def _lapse(self, users: list[str], promote: bool = True) -> None:
        """Those of them who did not claim their slots in time lose them: the next users get them."""
        over = []
        for user in users:
            by = self.windows.get(user, self.now) + self.claim
            if self.claim and user in self.windows and by <= self.now and by <= self._end_of(user):
                over.append(user)
                ticket, once = self.promoted_with[user], self.missed.get(user)
                lane = self.lanes.get(user)
                self._close_window(user)
                del self.inside[user]
                self.stays.append(by - self.began.pop(user))
                self.tally["lapsed"] += 1
                if once == ticket or not self.hold:
                    self.tally["unclaimed"] += 1
                    self.events.append(("UNCLAIMED", user, ticket))
                    self._note(user, "REMOVED", "UNCLAIMED", ticket)
                else:
                    self.missed[user] = ticket
                    self._keep(user, ticket, "UNCLAIMED")
                    self._set_lane(user, lane)
        if over and promote:
            self._promote()

    def _park(self, user: str) -> None:
        """Skipped from now on, and counted nowhere."""
        ticket = dict(self.line)[user]
        self.line.remove((user, ticket))
        del self.seen[user]
        self._keep(user, ticket, "ABSENT")

    def _keep(self, user: str, ticket: int, why: str) -> None:
        self.parked[user] = (ticket, self.now)
        self.once_parked.add(ticket)
        self.tally["parkings"] += 1
        self._note(user, "PARKED", why, ticket)

    def _come_back(self, user: str) -> bool:
        """A parked user is seen: back in line with the same ticket, and admitted at once if it is their turn."""
        if user not in self.parked:
            return False
        ticket = self.parked.pop(user)[0]
        self.line = sorted([*self.line, (user, ticket)], key=lambda place: place[1])
        self._note(user, "RETURNED", ticket=ticket)
        self.seen[user] = self.now
        self.tally["returns"] += 1
        self._promote()
        return True

    def _note(self, user: str, event: str, why: str | None = None, ticket: int | None = None) -> None:
        if self.kept_for:
            entries = self.history.setdefault(user, [])
            entries.append((self.now, event, why, ticket))
            del entries[:-50]

    def _note_leave(self, user: str, reason: str, ticket: int | None = None) -> None:
        if reason == "OPERATOR":
            self._note(user, "REMOVED", "OPERATOR", ticket)
        else:
            self._note(user, "LEFT", ticket=ticket)

    def _forget(self) -> int:
        """Those whose stay ended long ago, a bounded number at a time. Returns how many."""
        if not self.kept_for:
            self.history.clear()
        ends = {
            user: entries[-1][0]
            for user, entries in self.history.items()
            if entries[-1][1] in {"EXPIRED", "LEFT", "REMOVED"} and self.now - entries[-1][0] >= self.kept_for
        }
        users = by_age(ends)[: self.most]
        for user in users:
            del self.history[user]
        return len(users)

    def _inside(self, user: str, code: int) -> Answer:
        window = (self.windows[user] + self.claim,) if user in self.windows else ()
        return (code, 0, 0, len(self.line), self._end_of(user) - self.now, *window)

    def _none(self) -> Answer:
        return (NONE, 0, 0, len(self.line), 0)

    def _waiting(self, user: str) -> Answer:
        lane, ticket = self.lane(user), dict(self.line)[user]
        number = (list(self.weights).index(lane) + 1,) if self.shares else ()
        return (WAITING, ticket, self.position(user), len(self.of_lane(lane)), 0, *number)
