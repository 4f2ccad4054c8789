"""One room: lining up, the gate, leaving and the sweep. The rules are in ``lua_scripts/``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

from redis.exceptions import ResponseError

from gateway.background import end_task
from gateway.errors import NewerSchema, QueueUnavailable
from gateway.settings.redis_address import Node
from gateway.waiting_room.batch import (
    CROWD,
    GATHER_SECONDS,
    MAX_BATCH,
    Batcher,
    BatchObserver,
    Outcome,
    sendable,
)
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.draw_record import DrawReader
from gateway.waiting_room.history import HistoryEntry, parse_history
from gateway.waiting_room.invitation import Invitation
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.lane_keys import LaneKeys
from gateway.waiting_room.lanes import DEFAULT_LANE
from gateway.waiting_room.lineup import Lineup, invitations_of
from gateway.waiting_room.notices import Notices
from gateway.waiting_room.observer import RoomObserver
from gateway.waiting_room.opening import Opener, parse_move, with_salts
from gateway.waiting_room.operations import Operations
from gateway.waiting_room.presence import Presence
from gateway.waiting_room.recent_summary import RecentSummary
from gateway.waiting_room.redis.connection import Redis, RedisConnection, Replication
from gateway.waiting_room.redis.shared import ConnectionsByKind
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.rules import SCHEMA, Mode
from gateway.waiting_room.scripts import Script
from gateway.waiting_room.state import (
    REASONS,
    Following,
    Left,
    Reservation,
    State,
    StateKind,
    Summary,
    parse_states,
    parse_summary,
)
from gateway.waiting_room.stock import StockWriter

log = logging.getLogger(__name__)

SCAN_PER_SECOND = 500
"""Entries of the hash that the first sweep step of each second scans for users that are missing from the index."""

_TOKEN_SECONDS = 0.05
"""The shortest time between two sweeps for tokens. The bucket of a faster rate holds more than one token."""

What = Literal["slot", "line", "both"]
Question = Literal["lineup", "status", "enter", "arrive"]
"""The calls that are answered with a user's state."""


_SHOWING_OPENINGS = frozenset({"sweep", "beacon"})
"""Scripts after which this instance looks whether an opening needs work. The others are called too often for that, and
by every instance."""

_PROMOTING_SCRIPTS = frozenset({"arrive", "front", "lineup", "leave", "limits", "doors", "move"})
"""Scripts that may promote users and do not check for an older system themselves."""


class Room:
    """A capacity and a line. Works inside ``running()``.

    Every method raises QueueUnavailable if Redis can't be reached; after a time-out the call may have been executed all
    the same. A user id that can't be encoded as UTF-8 raises ValueError.
    """

    _retires = False
    """Whether an instance that serves the room no longer says so."""

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        keys: RoomKeys,
        limits: ConfiguredLimits,
        policy: RoomPolicy,
        observer: RoomObserver,
        batch_observer: BatchObserver | None = None,
        connections: ConnectionsByKind | None = None,
    ) -> None:
        """``connections``: those that rooms share, which do not end with this one; None: it has its own."""
        self.name = keys.room
        self.keys = keys
        self.limits = limits
        self._policy = policy
        self._scripts = scripts
        self._observer = observer
        self._channel = channel(keys, redis)
        self._room_arguments = _room_arguments(self._channel, limits)
        self._lanes = LaneKeys(keys, limits.rules.lanes)
        shared = ConnectionsByKind(redis.shared) if connections is None else connections
        self._own_connections = shared if connections is None else None
        self._new_link: Callable[[str], RedisConnection] = lambda kind: redis.link(
            observer.on_call, key=keys.line, shared=shared.of(kind)
        )
        self._links: dict[str, RedisConnection] = {}
        self._replication = Replication(policy.wait_replicas, keys.mark) if policy.wait_replicas else None
        batcher = partial(Batcher, patience=redis.timeout, room=self.name, observer=batch_observer)
        gathering = partial(batcher, gather=GATHER_SECONDS)
        self._lineups: Batcher[Lineup, State] = gathering(self._send_lineup, script="lineup")
        self._invited: Batcher[Lineup, State] = gathering(self._send_lineup, script="lineup")
        self._sightings: Batcher[str, State] = gathering(self._send_status, script="status")
        self._entries: Batcher[str, State] = batcher(self._send_gate, script="gate")
        self._arrivals: Batcher[Lineup, State] = batcher(self._send_arrivals, script="arrive")
        self._reopens: Batcher[str, None] = batcher(self._send_reopen, script="reopen")
        self._leavers: Batcher[tuple[What, str], Left] = batcher(self._send_leave, script="leave")
        self._questions: dict[Question, Batcher[str, State]] = {
            "status": self._sightings,
            "enter": self._entries,
        }
        self._unfinished = asyncio.Event()
        self._token_timer: asyncio.TimerHandle | None = None
        self._configured = self._started = False
        self._refused = ""
        """Why no call is made: a later version has written to Redis while this instance could not reach it."""
        # Older systems have one room and no prefix.
        self._follow = policy.follow if keys.shared else "off"
        self._summary_at = 0.0
        self.people: int | None = None
        """Users in line, parked, registered and allowed in, when this instance last heard from Redis."""
        self._mode: Mode | None = None
        """The mode in force, once Redis has said it."""
        self._implicit: bool | None = None
        self._duration = limits.duration
        self.following: Following | None = None
        """The older system that was followed when this instance last heard from Redis."""
        self.opener = Opener(
            keys,
            partial(self._run, link="opening"),
            self._link("opening").call,
            lambda: self.limits.prequeue if self.limits.rules.prequeue else None,
        )
        self.draws = DrawReader(keys, partial(self._run, link="draw"), self._link("draw").call)
        self.presence = Presence(
            keys,
            self._link("presence"),
            scripts,
            self._arguments,
            self.configure_once,
            retires=self._retires,
            lanes=self._lanes,
        )
        self.recent = RecentSummary(self.overview)
        self.notices = Notices(keys, self._link("statuses").call)
        self.stock = StockWriter(self._run, self.name)
        self.operations = Operations(keys, self._run, self._link("statuses"), lambda: self.limits)

    @property
    def crowded(self) -> bool:
        """Whether users line up faster than Redis can handle."""
        return len(self._lineups) + len(self._arrivals) >= CROWD

    @property
    def server(self) -> Node | None:
        """The server of Redis that holds the room, as far as is known; None if there is only one. Rooms of a Cluster at
        a node that is away must not hold up those at other nodes."""
        return self._link("presence").server

    @property
    def mode(self) -> Mode:
        """What the gate does: as Redis said last, or as this instance is configured while Redis has not been heard."""
        return self._mode or cast(Mode, self.limits.rules.mode)

    @property
    def off(self) -> bool:
        """Whether Redis has said that the room lets everyone in. Then users' questions are answered without it."""
        return self._mode == "off"

    @property
    def implicit(self) -> bool:
        """Whether the gate lines up users without a place: as Redis said last, or as this instance is configured."""
        return self.limits.rules.lineup == "implicit" if self._implicit is None else self._implicit

    def lineup(self, user: str) -> asyncio.Future[State]:
        """The user lines up: ADMITTED, ALLOWED_IN (was allowed in already), WAITING, or refused: FULL (Redis has no
        memory left), ROOM_FULL or TOO_MANY_LINEUPS."""
        return self.ask("lineup", user)

    def status(self, user: str) -> asyncio.Future[State]:
        """Where the user stands; counts as a sighting of the user. Returns WAITING, ALLOWED_IN or NONE."""
        return self.ask("status", user)

    def enter(self, user: str) -> asyncio.Future[State]:
        """The gate: ALLOWED_IN renews the session, WAITING and NONE are refused."""
        return self.ask("enter", user)

    def reopen(self, user: str) -> None:
        """The gateway itself answered a gated call of the user with 502, 503 or 504, and the state that let the call in
        says ``may_reopen``. Does not wait for Redis; if Redis can't be reached, the slot counts as claimed."""
        with contextlib.suppress(QueueUnavailable):
            self._reopens.submit_to(user, Outcome(_nothing))

    def ask(
        self,
        question: Question,
        user: str,
        invitation: Invitation | None = None,
        *,
        lane: str = DEFAULT_LANE,
        lines_up: bool = False,
    ) -> asyncio.Future[State]:
        """The answer to the question of this name: ``lineup``, ``status``, ``enter``, or ``arrive``: that is
        the gate, which lines up a user without a place if the room's ``lineup`` is implicit or ``lines_up`` is true.
        ``invitation``: of a user who lines up and is not eligible. ``lane``: of a user who lines up and gets a new
        ticket."""
        if self.off:
            answer: asyncio.Future[State] = asyncio.get_running_loop().create_future()
            answer.set_result(self._let_in())
            return answer
        if (lineups := self._lineups_by(question, invitation)) is not None:
            return lineups.submit(Lineup(sendable(user), lane, invitation, lines_up))
        return self._questions[question].submit(sendable(user))

    def ask_for(
        self,
        outcome: Outcome[State],
        question: Question,
        user: str,
        invitation: Invitation | None = None,
        *,
        lane: str = DEFAULT_LANE,
        lines_up: bool = False,
    ) -> None:
        """``ask`` for a caller with an outcome of its own."""
        if self.off:
            outcome.set_result(self._let_in())
            return
        if (lineups := self._lineups_by(question, invitation)) is not None:
            lineups.submit_to(Lineup(sendable(user), lane, invitation, lines_up), outcome)
        else:
            self._questions[question].submit_to(sendable(user), outcome)

    def _lineups_by(self, question: Question, invitation: Invitation | None) -> Batcher[Lineup, State] | None:
        """What sends the lineups of this question; None if the question lines nobody up."""
        if question == "arrive":
            return self._arrivals
        if invitation is not None:
            return self._invited
        return self._lineups if question == "lineup" else None

    async def leave(self, user: str, what: What) -> Left:
        """The user gives up the slot, the place in line, or either of them, as ``what`` says."""
        return await self._leavers.submit((what, sendable(user)))

    def end_session(self, user: str, outcome: Outcome[Left]) -> None:
        """A service ends the user's session; a place in line stays. Raises QueueUnavailable, and gives ``outcome`` what
        became of it."""
        self._leavers.submit_to(("slot", sendable(user)), outcome)

    async def move(self, giver: str, taker: str) -> tuple[bool, State]:
        """The place, slot or registration of ``giver`` becomes that of ``taker``; if both have one, ``taker`` has the
        better of the two. Returns whether ``giver`` had one, and where ``taker`` stands: WAITING, REGISTERED,
        ALLOWED_IN or NONE. Raises QueueUnavailable while an opening puts ``giver`` in line; nothing is moved then."""
        reply = await self._run("move", sendable(giver), sendable(taker), extra_keys=(self.keys.draw,))
        moved, state = parse_move(self.name, reply, taker)
        return moved, state._replace(notice=self.notices.current)

    async def reserve(self, visitor: str, address: str, most: int, *, giver: str = "") -> Reservation:
        """Whether a visitor at ``address`` may line up, of whose visitors at most ``most`` may have a place (0: no
        bound). ``giver``: a visitor whose place this one takes over, so that it does not count."""
        keys, arguments = (self.keys.neighbours(address),), (sendable(visitor), most, sendable(giver))
        return Reservation.of(await self._run("reserve", *arguments, extra_keys=keys))

    async def release(self, visitor: str, address: str, stamp: int) -> None:
        """Takes back the reservation with this stamp, which otherwise ends by itself. Raises QueueUnavailable."""
        keys = (self.keys.neighbours(address),)
        await self._link("reserve").run(self._scripts["unreserve"], keys, (sendable(visitor), stamp))

    async def statuses(self, users: Sequence[str]) -> list[State]:
        """Where each of at most 256 users stands, in one call. It does not count as a sighting of the users."""
        if self.off:
            return [self._let_in()] * len(users)
        return await self._states("status", users, "0", link="statuses")

    async def sessions(self, users: Sequence[str]) -> list[str]:
        """For each of at most 256 users, what identifies the user's session; empty if the user is not allowed in. It
        does not count as a sighting, and renews nothing."""
        reply = await self._run("sessions", *users, size=len(users))
        return [began.decode() for began in reply[1:]]

    async def overview(self) -> Summary:
        """The room's numbers."""
        return parse_summary((await self._run("status", "0", size=0, link="statuses"))[0])

    async def history(self, user: str) -> list[HistoryEntry]:
        """What happened to the user, the oldest entry first. It does not count as a sighting."""
        try:
            text = await self._link("statuses").call("HGET", self.keys.history, sendable(user))
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return parse_history((text or b"").decode("ascii", "replace"))

    async def sweep(self, scan: int = 0) -> Summary:
        """One bounded step of the sweep: expiry, parking, removal, promotion. ``scan``: how many entries of the hash to
        scan."""
        keys = (self.keys.watch, self.keys.lineups, self.keys.last_lineups, self.keys.minutes)
        reply = await self._run("sweep", scan, *self._follow_arguments(), extra_keys=keys)
        return parse_summary(reply[0])

    def set_configured_limits(self, limits: ConfiguredLimits) -> None:
        """The limits configured at this instance from now on; they are written with the next beat."""
        if limits != self.limits:
            self.limits = limits
            self._room_arguments = _room_arguments(self._channel, limits)
            self._lanes.add(limits.rules.lanes)
            self._configured = False

    async def configure_once(self) -> None:
        """Writes the limits configured at this instance, unless that has been done."""
        if self._configured:
            return
        limits = self.limits
        try:
            reply = await self._run(
                "configure",
                *self._follow_arguments(),
                int(not self._started),
                "",
                link="presence",
                extra_keys=(self.keys.watch,),
            )
        except QueueUnavailable as error:
            self._note_newer_schema(error.reason)
            raise
        self._refused = ""
        self._configured, self._started = self.limits == limits, True
        before_capacity, before_ms, override = reply[1]
        summary = parse_summary(reply[0])
        if override:
            log.info("room %s: an operator's limits stand: %d slots, %g s", self.name, *_limits(summary))
        elif before_capacity >= 0 and (before_capacity, before_ms / 1000) != _limits(summary):
            log.info(
                "room %s: limits changed from %d slots, %g s to %d slots, %g s",
                self.name,
                before_capacity,
                before_ms / 1000,
                *_limits(summary),
            )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves until the block ends."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._close_links)
            stack.push_async_callback(self.stock.close)
            stack.push_async_callback(self.notices.close)
            batchers = (
                self._lineups,
                self._invited,
                self._sightings,
                self._entries,
                self._arrivals,
                self._leavers,
                self._reopens,
            )
            for batcher in batchers:
                await stack.enter_async_context(batcher.running())
            await stack.enter_async_context(self.presence.running())
            tasks = [
                asyncio.create_task(self._finish(), name=f"finish {self.name}"),
                asyncio.create_task(self.opener.keep(), name=f"opening {self.name}"),
            ]
            try:
                yield
            finally:
                self._sweep_in(0)
                for task in tasks:
                    await end_task(task)

    async def _close_links(self) -> None:
        if self._own_connections is not None:
            await self._own_connections.close()

    async def _finish(self) -> None:
        """Continues at once where a call had to leave work behind. If this fails, the next sweep does the work."""
        while True:
            await self._unfinished.wait()
            self._unfinished.clear()
            with contextlib.suppress(QueueUnavailable):
                await self.sweep()

    async def _send_lineup(self, lineups: list[Lineup]) -> list[State]:
        return await self.opener.lined_up(lineups, self._line_up)

    async def _line_up(self, lineups: Sequence[Lineup]) -> list[State]:
        # The answer must survive the loss of the master, if configured so: the ticket is stored nowhere but in the
        # line.
        keys, arguments = invitations_of(self.keys, lineups)
        return await self._states(
            "lineup",
            [each.user for each in lineups],
            self._lanes.wanted(each.lane for each in lineups),
            arguments=arguments,
            extra_keys=(self.keys.lineups, self.keys.last_lineups, self.keys.draw, *keys),
            replication=self._replication,
        )

    async def _send_arrivals(self, arrivals: list[Lineup]) -> list[State]:
        return await self.opener.lined_up(arrivals, self._let_arrive)

    async def _let_arrive(self, arrivals: Sequence[Lineup]) -> list[State]:
        keys, arguments = invitations_of(self.keys, arrivals)
        return await self._states(
            "arrive",
            [each.user for each in arrivals],
            self._lanes.wanted(each.lane for each in arrivals),
            "".join("1" if each.lines_up else "0" for each in arrivals),
            arguments=arguments,
            extra_keys=(self.keys.lineups, self.keys.last_lineups, self.keys.draw, *keys),
            replication=self._replication and self._replication._replace(needed=_gave_places),
        )

    async def _send_status(self, users: list[str]) -> list[State]:
        return await self._states("status", users, "1")

    async def _send_gate(self, users: list[str]) -> list[State]:
        return await self._states("gate", users)

    async def _send_reopen(self, users: list[str]) -> list[None]:
        await self._run("reopen", *users, size=len(users))
        return [None] * len(users)

    async def _send_leave(self, pairs: list[tuple[What, str]]) -> list[Left]:
        parts = (part for pair in pairs for part in pair)
        reply = await self._run(
            "leave", "LEFT", "", "", *parts, size=len(pairs), extra_keys=(self.keys.audit,)
        )
        return [Left(code) for code in reply[1:]]

    async def _states(
        self,
        script: str,
        users: Sequence[str],
        *options: Argument,
        arguments: Sequence[Argument] | None = None,
        link: str | None = None,
        extra_keys: Sequence[str] = (),
        replication: Replication | None = None,
    ) -> list[State]:
        """What the script answers about ``users``. ``arguments``: what it gets in place of them, if that is more."""
        given = (*options, *(users if arguments is None else arguments))
        reply = await self._run(
            script, *given, size=len(users), link=link, extra_keys=extra_keys, replication=replication
        )
        summary = parse_summary(reply[0])
        if summary.mode == "off":
            return [self._let_in()] * len(users)
        states = parse_states(self.name, summary, reply[1:], self.notices.current)
        return with_salts(states, reply[1:], users) if summary.opening is not None else states

    def _let_in(self) -> State:
        """The state of every user while the room is off. Nothing of it is in Redis."""
        return State(self.name, StateKind.ALLOWED_IN, 0, 0, 0, self._duration, None)

    async def _run(
        self,
        script: str,
        *args: Argument,
        size: int = 1,
        link: str | None = None,
        extra_keys: Sequence[str] = (),
        replication: Replication | None = None,
    ) -> list[Any]:
        if self._refused and script != "configure":
            raise QueueUnavailable(self._refused)
        if size > MAX_BATCH:
            raise ValueError(f"{size} users in one call, at most {MAX_BATCH}")
        if self._follow != "off" and script in _PROMOTING_SCRIPTS:
            # The first call checks for an older system. Before that no user may be promoted.
            await self.configure_once()
        reply: list[Any] = await self._lanes.run(
            self._link(link or script),
            self._scripts[script],
            (*self.keys.common, *extra_keys),
            (*self._arguments(), *args),
            size,
            replication,
        )
        summary = parse_summary(reply[0])
        if summary.more:
            self._unfinished.set()
        elif script == "sweep":
            self._sweep_in(summary.seconds_to_work)
        if script in _SHOWING_OPENINGS and summary.opening is not None and summary.opening.wants_work:
            self.opener.wanted.set()
        self._note_summary(summary)
        self._observer.on_summary(self.name, summary)
        return reply

    def _sweep_in(self, seconds: float) -> None:
        """Sweeps again after so long; 0: only with the regular sweeps."""
        if self._token_timer is not None:
            self._token_timer.cancel()
            self._token_timer = None
        if seconds:
            loop = asyncio.get_running_loop()
            self._token_timer = loop.call_later(max(seconds, _TOKEN_SECONDS), self._unfinished.set)

    def _note_newer_schema(self, reason: str) -> None:
        found = re.search(r"NEWER_SCHEMA (\d+)", reason)
        if found and not self._refused:
            error = NewerSchema(self.name, int(found[1]), SCHEMA)
            log.error("%s. Until then every call of this room gets 503", error)
            self._refused = str(error)

    async def check_schema(self, link: RedisConnection) -> None:
        """Asks by ``link``, which works also before the room runs. Raises NewerSchema if a later version has written to
        the room, and QueueUnavailable."""
        try:
            found = await link.call("HGET", self.keys.settings, "schema")
        except ResponseError:
            # The first script call will say what is wrong with the key.
            return
        if found is not None and found.isdigit() and int(found) > SCHEMA:
            raise NewerSchema(self.name, int(found), SCHEMA)

    def _note_summary(self, summary: Summary) -> None:
        # Replies come over several connections, so an older one may come last.
        if summary.now < self._summary_at:
            return
        self._summary_at = summary.now
        if self.mode != summary.mode:
            log.info("room %s: the mode is now %s", self.name, summary.mode)
        self._mode, self._duration, self._implicit = summary.mode, summary.duration, summary.implicit
        self.people = summary.waiting + summary.parked + summary.registered + summary.allowed_in
        self._note_following(summary.following)
        self.notices.heard(summary.notice_version)

    def _note_following(self, following: Following | None) -> None:
        before, self.following = self.following, following
        if following is not None and before is None:
            log.warning(
                "room %s: following an older system, because %s. It ends sessions and admits; this gateway admits only "
                "users whose streams are open at the new gateways",
                self.name,
                REASONS[following.sign],
            )
        elif following is None and before is not None:
            log.warning(
                "room %s: no sign of the older system any more; this gateway sweeps and admits", self.name
            )

    def _follow_arguments(self) -> tuple[Argument, Argument]:
        return self._follow, max(1, round(self._policy.follow_seconds * 1000))

    def _arguments(self) -> tuple[Argument, ...]:
        """ARGV[1] to ARGV[4] of every script of a room, in the order of ``includes/room.lua``."""
        return self._room_arguments

    def _link(self, purpose: str) -> RedisConnection:
        """Calls of one kind, by connections of their own, so that no call waits behind another kind; above all the
        gate."""
        link = self._links.get(purpose)
        if link is None:
            link = self._links[purpose] = self._new_link(purpose)
        return link


def _nothing() -> None:
    """No-op."""


def _gave_places(reply: Sequence[Any]) -> bool:
    """Whether a script has let in, lined up or registered users."""
    summary = parse_summary(reply[0])
    return summary.admitted + summary.lineups + summary.registrations > 0


def channel(keys: RoomKeys, redis: Redis) -> str:
    """The pub/sub channel of a room. All databases of a Redis share their channels, so the name includes the number."""
    return f"{keys.events}@{redis.database}"


def _room_arguments(channel: str, limits: ConfiguredLimits) -> tuple[Argument, ...]:
    return (channel, limits.capacity, round(limits.duration * 1000), limits.rules.as_text())


def _limits(summary: Summary) -> tuple[int, float]:
    return summary.capacity, summary.duration
