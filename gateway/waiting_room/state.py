"""Replies of the room: where a user stands, and the room's numbers. The codes are those of the Lua scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag, StrEnum
from typing import Any, Final, NamedTuple, Self, get_args

from gateway.waiting_room.lanes import LaneNumbers, admission_order, parse_shares
from gateway.waiting_room.notices import Notice
from gateway.waiting_room.rules import Mode

_MAX_CORRECTION: Final = 0.3
_USERS_PER_THING: Final = 1.5
_SOON_SECONDS: Final = 1.5
"""A moment that is nearer comes before the sweep after the next one."""
_NEGLIGIBLE: Final = 1e-6  # below this share of users who give up, the logarithm is not needed


class StateKind(StrEnum):
    """Where a user stands, in the order of the codes in ``includes/place.lua``."""

    NONE = "NONE"
    WAITING = "WAITING"
    ALLOWED_IN = "ALLOWED_IN"
    ADMITTED = "ADMITTED"
    """Allowed in by the call that returned this."""
    FULL = "FULL"
    """Redis has no memory for one more user; a lineup changed nothing."""
    ROOM_FULL = "ROOM_FULL"
    """As many users wait as may; a lineup changed nothing."""
    TOO_MANY_LINEUPS = "TOO_MANY_LINEUPS"
    """The user has lined up too often; a lineup changed nothing."""
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    """The user may line up only with an invitation, and has none that is good; a lineup changed nothing."""
    REGISTERED = "REGISTERED"
    """Gathered in a pre-queue, without a place."""
    CLOSED = "CLOSED"
    """The room takes no lineups; a lineup changed nothing."""
    UNPREPARED = "UNPREPARED"
    """The pre-queue has to be begun first; a lineup changed nothing."""
    SOLD_OUT = "SOLD_OUT"
    """The room is sold out, and the user is not inside."""


class Left(IntEnum):
    """What a user gave up; ``leave.lua`` has the same codes."""

    NOTHING = 0
    SLOT = 1
    PLACE = 2


class Moved(IntEnum):
    """What became of a place that was to be moved; ``move.lua`` has the same codes."""

    NOTHING = 0
    MOVED = 1
    LATER = 2
    """It is that of a registered user, and the opening is under way; nothing was changed."""


class Doors(IntFlag):
    """What operators have said of a room's doors; ``includes/summary.lua`` has the same numbers."""

    CLOSED = 1
    """Users without a place can't line up."""
    SOLD_OUT = 2
    """No user outside has a place or gets one."""
    PAUSED = 4
    """No user is admitted."""


class Reserved(IntEnum):
    """Whether a visitor may line up; ``reserve.lua`` has the same codes."""

    REFUSED = 0
    FREE = 1
    HELD = 2
    """The visitor has a place or slot already."""


class Reservation(NamedTuple):
    """Whether a visitor may line up. ``stamp``: with what ``Room.release`` takes that back; 0: there is nothing to."""

    code: Reserved
    stamp: int

    @classmethod
    def of(cls, reply: Sequence[int]) -> Self:
        """What ``reserve.lua`` has returned."""
        return cls(Reserved(reply[1]), reply[2])


class Sign(StrEnum):
    """The sign that an older system runs, as ``includes/older.lua`` names it; the strongest seen so far."""

    STRANGERS = "STRANGERS"
    """Users whom no gateway knows, found after a time in which no gateway looked."""
    LINEUP = "LINEUP"
    """The older system put a user in line."""
    RENEWAL = "RENEWAL"
    """The older system admitted a user or renewed a session."""
    SWEEP = "SWEEP"
    """The older system took the lock of its sweeps."""
    NOTIFICATIONS = "NOTIFICATIONS"
    """The older system took the lock of its notifications."""
    SETTING = "SETTING"
    """``QUEUE_FOLLOW=on``."""


REASONS: Final[dict[Sign, str]] = {
    Sign.STRANGERS: "there are users whom no gateway here knows, so its next sign is waited for",
    Sign.LINEUP: "it puts users in line",
    Sign.RENEWAL: "it admits users or renews their sessions",
    Sign.SWEEP: "it takes the lock of its sweeps",
    Sign.NOTIFICATIONS: "it takes the lock of its notifications",
    Sign.SETTING: "QUEUE_FOLLOW is on",
}
"""For operators: why an older system is followed."""


class Following(NamedTuple):
    """The older system that is followed. Times in seconds since the epoch, by Redis's clock."""

    since: float
    last_sign: float
    sign: Sign
    streams: int
    """Users with an open stream at a gateway."""


class Phase(StrEnum):
    """Where an opening is, as ``includes/room.lua`` names it."""

    NONE = ""
    """There is no pre-queue."""
    GATHERING = "gathering"
    """Users register."""
    CLOSED = "closed"
    """It is known who takes part."""
    AWAITING = "awaiting"
    """The beacon's value is missing."""
    RANKED = "ranked"
    """The order is known."""
    PLACING = "placing"
    """Users are being put in line."""
    OPEN = "open"
    """All are in line."""


class Opening(NamedTuple):
    """Opening times of a room, and its pre-queue. Moments in epoch milliseconds by Redis's clock; 0: none."""

    phase: Phase
    entrance: str
    """What a lineup comes to: ``open``, ``gather`` or ``closed``."""
    opens_at: int
    closes_at: int
    registered: int
    due: float
    """Seconds until the pre-queue begins or closes; 0: neither is ahead."""

    @property
    def wants_work(self) -> bool:
        """A gateway has to begin the pre-queue, or to put its users in line."""
        if self.entrance == "gather":
            return self.phase is not Phase.GATHERING
        return self.phase in {Phase.CLOSED, Phase.RANKED, Phase.PLACING}


class Summary(NamedTuple):
    """The room's numbers after a call, what the call did, and the numbers of features that not every room uses.

    ``includes/summary.lua`` has the same order."""

    waiting: int
    allowed_in: int
    capacity: int
    duration: float
    """Length of a session, in seconds."""
    paused: bool
    rate: float
    """Admissions from the line per second; 0 until measured, and after the line has stood still for long."""
    abandon_rate: float
    """Departures from the line without admission, per second and user in line."""
    more: bool
    """The call left work behind: the sweep is to be called at once."""
    now: float
    """Redis's time, in seconds since the epoch."""
    ages: tuple[float, ...] | None
    """Seconds since admission of five sessions: the oldest, those at a quarter, a half and three quarters, and the
    youngest. Empty while unknown or not needed; None from calls that did not read them."""
    parked: int
    """Users who keep a ticket but are absent."""
    next_token: float
    """Seconds until the rate allows the next admission from the line; 0: the rate is not in the way."""
    lanes: tuple[LaneNumbers, ...]
    """The lanes in their order, ``default`` last; empty if the room has none."""
    admitted: int
    promoted: int
    expired: int
    evicted: int
    left: int
    removed: int
    lineups: int
    parkings: int
    returns: int
    lapsed: int
    """Slots that were given on because their users did not claim them in time."""
    unclaimed: int
    """Users removed for that."""
    registrations: int
    waits: tuple[float, ...]
    """Seconds that each user admitted from the line by this call had waited, where known."""
    stays: tuple[float, ...]
    """Seconds that each session lasted that this call ended or found ended, where known."""

    following: Following | None = None
    """Set while an older system is followed: that system then sweeps and admits instead of the gateways."""

    mode: Mode = "on"
    """What the gate does."""
    opening: Opening | None = None
    """None for a room without opening times and pre-queue."""

    doors: Doors = Doors(0)
    closed_until: int = 0
    """When a room that an operator has closed opens by itself, in epoch milliseconds; 0: no moment is set."""

    implicit: bool = False
    """The gate lines users up."""
    stock: int | None = None
    """How many things are left to sell; None: not known."""

    notice_version: int = 0
    """Changes with the room's notice; 0: there was none."""

    @property
    def paused_by_operator(self) -> bool:
        """An operator has paused the room."""
        return Doors.PAUSED in self.doors

    @property
    def registered(self) -> int:
        """Users in the pre-queue."""
        return 0 if self.opening is None else self.opening.registered

    @property
    def seconds_to_work(self) -> float:
        """In how many seconds a sweep has something to do, if that is sooner than the regular one: when the rate allows
        the next admission, or when a pre-queue begins or closes; 0: nothing is so near.

        The sweep of each second alone would waste tokens: a bucket that is full before it takes no more until then.
        """
        due = self.opening.due if self.opening is not None else 0.0
        moments = (self.next_token, due if due < _SOON_SECONDS else 0.0)
        return min((seconds for seconds in moments if seconds > 0), default=0.0)

    @property
    def likely_up_to(self) -> float:
        """The last position in line at which there will probably be something left: what is left would be enough for
        half as many users again as there are things, since not every user buys. Users inside come before the line."""
        return math.inf if self.stock is None else self.stock * _USERS_PER_THING + self.allowed_in

    @property
    def admits_none(self) -> bool:
        """The room is paused or has no slots, so the length of a wait can't be estimated."""
        return self.paused or self.capacity == 0

    def wait_at(self, position: float) -> float | None:
        """Seconds until the user at ``position`` is admitted; None until something has been measured, and while the
        room admits no one.

        A user moves forward with each admission, and with each user ahead who gives up: n' = -rate - abandon_rate * n.
        The estimate is the time after which n is 0. If sessions began in waves, they also end in waves; their ages then
        shift the estimate, by at most 30 %.
        """
        return self.waits_by_position()(position)

    def wait_for_newcomer(self) -> float | None:
        """``wait_at`` of a user who joins the line now, in lane ``default`` if there are lanes."""
        if not self.lanes:
            return self.wait_at(self.waiting + 1)
        number = len(self.lanes) - 1
        return self.wait_at(admission_order(self.lanes[number].waiting + 1, number, self.lanes))

    def waits_by_position(self) -> Callable[[float], float | None]:
        """``wait_at`` with the part that is the same for all users computed once: each stream needs it every few
        seconds."""
        rate, abandon_rate, inside, ages = self.rate, self.abandon_rate, self.allowed_in, self.ages
        if rate <= 0 or self.admits_none:
            return _unknown

        def smooth(position: float) -> float:
            straight = position / rate
            thinning = abandon_rate * straight
            return straight if thinning < _NEGLIGIBLE else math.log1p(thinning) / abandon_rate

        if not ages or inside < 2:
            return smooth
        session = self.capacity / rate
        steps = len(ages) - 1
        steps_per_rank = steps / (inside - 1)

        def stepped(position: float) -> float:
            straight = position / rate
            thinning = abandon_rate * straight
            wait = straight if thinning < _NEGLIGIBLE else math.log1p(thinning) / abandon_rate
            before = wait * rate - 1
            rounds, rank = divmod(before, inside) if before > 0 else (0.0, 0.0)
            # The age of the session at this place, between two of the known ages.
            place = rank * steps_per_rank
            below = int(place) if place < steps else steps - 1
            age = ages[below] + (ages[below + 1] - ages[below]) * (min(place, steps) - below)
            found = rounds * session + (session - age if session > age else 0.0)
            lowest, highest = wait * (1 - _MAX_CORRECTION), wait * (1 + _MAX_CORRECTION)
            return lowest if found < lowest else highest if found > highest else found

        return stepped


def _unknown(position: float) -> None:
    """Always None: nothing has been measured."""


class State(NamedTuple):
    """Where one user stands. Numbers that don't apply are 0."""

    room: str
    kind: StateKind
    ticket: int
    position: int
    """1 is next."""
    total: int
    """How many users are waiting in the same lane, this user included."""
    expires_in: float
    """Seconds left of the session; after too many lineups, until the user may line up again."""
    estimated_wait: float | None
    """Seconds. Set while the user waits and something has been measured."""
    paused: bool = False
    """The room admits no one: an operator paused it, or its capacity is 0."""
    measured: float = 0.0
    """About how many admissions the estimate rests on."""
    claim_by: int = 0
    """Until when the user must claim the slot, in epoch milliseconds by Redis's clock; 0: no claim window runs."""
    may_reopen: bool = False
    """The gated call was one of the first after a promotion. If the gateway itself answers it with 502, 503 or 504,
    ``Room.reopen`` is to be called."""
    opens_at: int = 0
    """When the room opens, in epoch milliseconds by Redis's clock; 0: no moment is known. Of users who are registered
    or refused because the room is closed."""
    registers_at: int = 0
    """When a closed room begins to register users, likewise; 0: it does not."""
    server_time: int = 0
    """Redis's time in epoch milliseconds, of the same users."""
    salt: bytes = b""
    """Of a user whom a lineup registered, or found registered, for a draw."""
    receipt: str = ""
    """The signed receipt of such a user."""
    notice: Notice | None = None
    """What operators tell all users of the room."""
    unlikely: bool = False
    """There will probably be nothing left when the user's turn comes."""
    lane: str = ""
    """In which lane the user waits or is registered; empty if the room has none."""
    lined_up: bool = False
    """The gated call that asked has just put the user in line."""

    @property
    def waiting(self) -> bool:
        """In line."""
        return self.kind is StateKind.WAITING

    @property
    def wait_range(self) -> tuple[float, float] | None:
        """In seconds, what half of all waits with this estimate do not exceed, and what nine in ten do not; None
        without an estimate.

        The admissions of the users ahead come at random, and so did those from which the rate was measured. The sum of
        such times has a gamma distribution, whose quantiles are computed after Wilson and Hilferty (1931).
        """
        wait = self.estimated_wait
        if wait is None:
            return None
        spread = 1 / max(self.position, 1) + 1 / max(self.measured, 1.0)
        middle = 1 - spread / 9
        low, high = wait * middle**3, wait * (middle + _Z_OF_NINE_IN_TEN / 3 * math.sqrt(spread)) ** 3
        return min(low, wait), max(high, wait)

    @property
    def registered(self) -> bool:
        """In the pre-queue; ``total`` is how many are."""
        return self.kind is StateKind.REGISTERED

    @property
    def pending(self) -> bool:
        """In line or registered."""
        return self.waiting or self.registered

    @property
    def allowed_in(self) -> bool:
        """Holds a slot."""
        return self.kind is StateKind.ALLOWED_IN or self.kind is StateKind.ADMITTED

    @property
    def behind(self) -> int:
        """How many users stand behind this user."""
        return self.total - self.position


def parse_summary(reply: Sequence[Any]) -> Summary:
    """A script's summary as the Lua side wrote it."""
    counts = reply[13] or _NO_COUNTS
    features = reply[14] or _NO_FEATURES
    return Summary(
        waiting=reply[0],
        allowed_in=reply[1],
        capacity=reply[2],
        duration=reply[3] / 1000,
        paused=reply[4] == 1,
        rate=float(reply[5]),
        abandon_rate=float(reply[6]),
        more=reply[7] == 1,
        now=reply[8] / 1000,
        ages=None if reply[9] == 0 else tuple(ms / 1000 for ms in reply[9]),
        parked=reply[10],
        next_token=reply[11] / 1000,
        lanes=_parse_lanes(reply[12]),
        admitted=counts[0],
        promoted=counts[1],
        expired=counts[2],
        evicted=counts[3],
        left=counts[4],
        removed=counts[5],
        lineups=counts[6],
        parkings=counts[7],
        returns=counts[8],
        lapsed=counts[9],
        unclaimed=counts[10],
        registrations=counts[11],
        waits=tuple(ms / 1000 for ms in counts[12]),
        stays=tuple(ms / 1000 for ms in counts[13]),
        following=_parse_following(features[0]),
        mode=_MODES[features[1]],
        opening=_parse_opening(features[2]),
        doors=Doors(features[3]),
        closed_until=features[4],
        implicit=features[5] == 1,
        stock=None if features[6] < 0 else features[6],
        notice_version=features[7],
    )


def _parse_lanes(reply: Sequence[Any] | int) -> tuple[LaneNumbers, ...]:
    if isinstance(reply, int):
        return ()
    text, *waiting = reply
    shares = parse_shares(text.decode() if isinstance(text, bytes) else text)
    return tuple(
        LaneNumbers(name, share, count) for (name, share), count in zip(shares, waiting, strict=True)
    )


def _parse_opening(reply: Sequence[Any] | int) -> Opening | None:
    if isinstance(reply, int):
        return None
    phase, entrance, opens_at, closes_at, registered, due = reply
    names = [word.decode() if isinstance(word, bytes) else word for word in (phase, entrance)]
    known = Phase(names[0]) if names[0] in _PHASES else Phase.NONE
    return Opening(known, names[1], opens_at, closes_at, registered, due / 1000)


def _parse_following(reply: Sequence[Any] | int) -> Following | None:
    if isinstance(reply, int):
        return None
    since, last_sign, sign, streams = reply
    word = sign.decode() if isinstance(sign, bytes) else sign
    known = Sign(word) if word in Sign.__members__ else Sign.STRANGERS
    return Following(since / 1000, last_sign / 1000, known, streams)


_Z_OF_NINE_IN_TEN: Final = 1.2816
"""The 90th percentile of the standard normal distribution."""

_NO_COUNTS: Final = (*(0,) * 12, (), ())
_NO_FEATURES: Final = (0, 0, 0, 0, 0, 0, -1, 0)
_KINDS = tuple(StateKind)
_PHASES = frozenset(Phase)
_WITH_OPENING = frozenset({StateKind.REGISTERED, StateKind.CLOSED})
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)


def parse_states(
    room: str, summary: Summary, answers: Sequence[Sequence[Any]], notice: Notice | None = None
) -> list[State]:
    """One state per answer; positions become estimates by the summary's rate. ``notice``: that of the room."""
    wait_at, paused = summary.waits_by_position(), summary.admits_none
    likely_up_to = summary.likely_up_to
    # The measurement fades with the length of a session, see includes/summary.lua.
    measured = summary.rate * max(summary.duration, 30.0)
    states = []
    for code, ticket, position, total, left_ms, *rest in answers:
        kind = _KINDS[code]
        order, estimate, lane = float(position), None, ""
        if summary.lanes and kind is StateKind.WAITING:
            number = rest.pop() - 1
            order, lane = admission_order(position, number, summary.lanes), summary.lanes[number].name
        elif summary.lanes and kind is StateKind.REGISTERED:
            lane = summary.lanes[rest.pop() - 1].name
        waits = kind is StateKind.WAITING
        if waits:
            estimate = wait_at(order)
        state = State(
            room,
            kind,
            ticket,
            position,
            total,
            0.0 if waits else left_ms / 1000,
            estimate,
            paused,
            measured,
            lane=lane,
            lined_up=waits and left_ms == 1,
        )
        if notice is not None:
            state = state._replace(notice=notice)
        if rest and kind in _WITH_OPENING:
            state = state._replace(opens_at=rest[0], server_time=round(summary.now * 1000))
            if kind is StateKind.CLOSED:
                state = state._replace(registers_at=sum(rest[1:2]))
        elif order > likely_up_to:
            state = state._replace(unlikely=True)
        elif rest:
            state = state._replace(claim_by=max(0, rest[0]), may_reopen=rest[0] < 0)
        states.append(state)
    return states
