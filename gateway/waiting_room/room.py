"""One room: lining up, the gate, leaving and the limits. The rules are in ``lua_scripts/``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

from redis.exceptions import ResponseError

from gateway.errors import NewerSchema, QueueUnavailable
from gateway.waiting_room.audit import AuditEntry, parse_audit
from gateway.waiting_room.batch import CROWD, GATHER_SECONDS, MAX_BATCH, Batcher, BatchObserver, Outcome
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.draw_record import DrawReader
from gateway.waiting_room.history import HistoryEntry, parse_history
from gateway.waiting_room.instances import Instance, read_instances
from gateway.waiting_room.invitation import Invitation
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.observer import RoomObserver
from gateway.waiting_room.opening import Opener, parse_move, with_salts
from gateway.waiting_room.presence import Presence
from gateway.waiting_room.redis.connection import Redis, RedisConnection, Replication
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.rules import SCHEMA, Mode, Value, change_text
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
from gateway.waiting_room.whereabouts import Whereabouts, parse_whereabouts

log = logging.getLogger(__name__)

SCAN_PER_SECOND = 500
"""Entries of the hash that the first sweep step of each second scans for users that are missing from the index."""

_TOKEN_SECONDS = 0.05
"""The shortest time between two sweeps for tokens. The bucket of a faster rate holds more than one token."""
GATEWAY = "gateway"
"""The name in the audit for changes that no operator made."""

What = Literal["slot", "line", "both"]
DoorAct = Literal["close", "reopen", "sold_out", "empty"]
Question = Literal["lineup", "status", "enter"]
"""The calls that are answered with a user's state."""

_SHOWING_OPENINGS = frozenset({"sweep", "beacon"})
"""Scripts after which this instance looks whether an opening needs work. The others are called too often for that, and
by every instance."""

_PROMOTING_SCRIPTS = frozenset({"lineup", "leave", "limits", "doors", "move"})
"""Scripts that may promote users and do not check for an older system themselves."""


class Room:
    """A capacity and a line. Works inside ``running()``.

    Every method raises QueueUnavailable if Redis can't be reached; after a time-out the call may have been executed all
    the same. A user id that can't be encoded as UTF-8 raises ValueError.
    """

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        keys: RoomKeys,
        limits: ConfiguredLimits,
        policy: RoomPolicy,
        observer: RoomObserver,
        batch_observer: BatchObserver | None = None,
    ) -> None:
        self.name = keys.room
        self.keys = keys
        self.limits = limits
        self._policy = policy
        self._scripts = scripts
        self._observer = observer
        self._channel = channel(keys, redis)
        self._room_arguments = _room_arguments(self._channel, limits)
        self._new_link: Callable[[], RedisConnection] = lambda: redis.link(observer.on_call, key=keys.line)
        self._links: dict[str, RedisConnection] = {}
        self._replication = Replication(policy.wait_replicas, keys.mark) if policy.wait_replicas else None
        batcher = partial(Batcher, patience=redis.timeout, room=self.name, observer=batch_observer)
        gathering = partial(batcher, gather=GATHER_SECONDS)
        self._lineups: Batcher[str, State] = gathering(self._send_lineup, script="lineup")
        self._invited: Batcher[tuple[str, Invitation], State] = gathering(self._send_invited, script="lineup")
        self._sightings: Batcher[str, State] = gathering(self._send_status, script="status")
        self._entries: Batcher[str, State] = batcher(self._send_gate, script="gate")
        self._reopens: Batcher[str, None] = batcher(self._send_reopen, script="reopen")
        self._leavers: Batcher[tuple[What, str], Left] = batcher(self._send_leave, script="leave")
        self._questions: dict[Question, Batcher[str, State]] = {
            "lineup": self._lineups,
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
        self._mode: Mode | None = None
        """The mode in force, once Redis has said it."""
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
        self.presence = Presence(keys, self._link("presence"), scripts, self._arguments, self.configure_once)

    @property
    def crowded(self) -> bool:
        """Whether users line up faster than Redis can handle."""
        return len(self._lineups) >= CROWD

    @property
    def mode(self) -> Mode:
        """What the gate does: as Redis said last, or as this instance is configured while Redis has not been heard."""
        return self._mode or cast(Mode, self.limits.rules.mode)

    @property
    def off(self) -> bool:
        """Whether Redis has said that the room lets everyone in. Then users' questions are answered without it."""
        return self._mode == "off"

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
        self, question: Question, user: str, invitation: Invitation | None = None
    ) -> asyncio.Future[State]:
        """The answer to the question of this name: ``lineup``, ``status`` or ``enter``. ``invitation``: of a user who
        lines up and is not eligible."""
        if self.off:
            answer: asyncio.Future[State] = asyncio.get_running_loop().create_future()
            answer.set_result(self._let_in())
            return answer
        if invitation is not None:
            return self._invited.submit((_sendable(user), invitation))
        return self._questions[question].submit(_sendable(user))

    def ask_for(
        self, outcome: Outcome[State], question: Question, user: str, invitation: Invitation | None = None
    ) -> None:
        """``ask`` for a caller with an outcome of its own."""
        if self.off:
            outcome.set_result(self._let_in())
            return
        if invitation is not None:
            self._invited.submit_to((_sendable(user), invitation), outcome)
            return
        self._questions[question].submit_to(_sendable(user), outcome)

    async def leave(self, user: str, what: What) -> Left:
        """The user gives up the slot, the place in line, or either of them, as ``what`` says."""
        return await self._leavers.submit((what, _sendable(user)))

    async def move(self, giver: str, taker: str) -> tuple[bool, State]:
        """The place, slot or registration of ``giver`` becomes that of ``taker``; if both have one, ``taker`` has the
        better of the two. Returns whether ``giver`` had one, and where ``taker`` stands: WAITING, REGISTERED,
        ALLOWED_IN or NONE. Raises QueueUnavailable while an opening puts ``giver`` in line; nothing is moved then."""
        reply = await self._run("move", _sendable(giver), _sendable(taker), extra_keys=(self.keys.draw,))
        return parse_move(self.name, reply, taker)

    async def reserve(self, visitor: str, address: str, most: int, *, giver: str = "") -> Reservation:
        """Whether a visitor at ``address`` may line up, of whose visitors at most ``most`` may have a place (0: no
        bound). ``giver``: a visitor whose place this one takes over, so that it does not count."""
        keys, arguments = (self.keys.neighbours(address),), (_sendable(visitor), most, _sendable(giver))
        return Reservation.of(await self._run("reserve", *arguments, extra_keys=keys))

    async def release(self, visitor: str, address: str, stamp: int) -> None:
        """Takes back the reservation with this stamp, which otherwise ends by itself. Raises QueueUnavailable."""
        keys = (self.keys.neighbours(address),)
        await self._link("reserve").run(self._scripts["unreserve"], keys, (_sendable(visitor), stamp))

    async def statuses(self, users: Sequence[str]) -> list[State]:
        """Where each of at most 256 users stands, in one call. It does not count as a sighting of the users."""
        if self.off:
            return [self._let_in()] * len(users)
        return await self._states("status", users, "0", link="statuses")

    async def remove(self, users: Sequence[str], *, by: str = GATEWAY, reason: str = "") -> list[Left]:
        """An operator removes the slot or the place of each of at most 256 users. ``by`` and ``reason`` are for the
        audit."""
        pairs = [part for user in users for part in ("both", user)]
        keys = (self.keys.audit,)
        reply = await self._run("leave", "OPERATOR", by, reason, *pairs, size=len(users), extra_keys=keys)
        return [Left(code) for code in reply[1:]]

    async def note(self, act: str, *, user: str, what: str, by: str, reason: str) -> None:
        """Writes an act of an operator that changes nothing in Redis into the audit."""
        arguments = (act, _sendable(user), what, by, reason)
        await self._run("note", *arguments, link="sweep", extra_keys=(self.keys.audit,))

    async def overview(self) -> Summary:
        """The room's numbers."""
        return parse_summary((await self._run("status", "0", size=0, link="statuses"))[0])

    async def set_limits(
        self,
        *,
        capacity: int | None = None,
        duration: float | None = None,
        paused: bool | None = None,
        lift: bool = False,
        rules: Mapping[str, Value | None] | None = None,
        by: str = GATEWAY,
        reason: str = "",
    ) -> Summary:
        """Sets an operator's limits and other settings, which override those configured at the instances until they are
        lifted.

        ``duration`` in seconds; None leaves a limit as it is. ``rules``: fields of ``RoomRules`` to change; None goes
        back to what is configured. ``lift`` first goes back to all that is configured. ``by`` and ``reason`` are for
        the audit.
        """
        reply = await self._run(
            "limits",
            "" if capacity is None else capacity,
            "" if duration is None else round(duration * 1000),
            "" if paused is None else int(paused),
            int(lift),
            change_text(rules or {}),
            by,
            reason,
            link="sweep",
            extra_keys=(self.keys.audit,),
        )
        return parse_summary(reply[0])

    async def set_doors(
        self, act: DoorAct, *, until: int = 0, by: str = GATEWAY, reason: str = ""
    ) -> Summary:
        """An operator closes the room, reopens it, says that it is sold out, or removes all users from the line.
        ``until``: to close until this moment, in epoch milliseconds; 0: until the room is reopened. ``by`` and
        ``reason`` are for the audit.

        If many users lose their places, some do so after the call, in further steps.
        """
        reply = await self._run(
            "doors", act, until or "", by, reason, link="sweep", extra_keys=(self.keys.audit,)
        )
        return parse_summary(reply[0])

    async def find(self, user: str) -> Whereabouts:
        """Where the user stands. It does not count as a sighting."""
        reply = await self._run("find", _sendable(user), link="statuses")
        found = parse_whereabouts(reply[1:])
        try:
            call = self._link("statuses").call
            instances = await call("ZRANGE", self.keys.instances, 0, -1)
            here = [
                name
                for name in (each.decode("utf-8", "replace") for each in instances)
                if await call("SISMEMBER", self.keys.here(name), user)
            ]
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return found._replace(instances=tuple(here))

    async def instances(self) -> list[Instance]:
        """The instances that serve the room. Raises QueueUnavailable."""
        return await read_instances(self._link("statuses"), self.keys)

    async def history(self, user: str) -> list[HistoryEntry]:
        """What happened to the user, the oldest entry first. It does not count as a sighting."""
        try:
            text = await self._link("statuses").call("HGET", self.keys.history, _sendable(user))
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return parse_history((text or b"").decode("ascii", "replace"))

    async def audit(self, count: int) -> list[AuditEntry]:
        """The last changes of operators, at most ``count``, the newest first. Raises QueueUnavailable."""
        try:
            reply = await self._link("statuses").call("XREVRANGE", self.keys.audit, "+", "-", "COUNT", count)
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return parse_audit(reply)

    async def sweep(self, scan: int = 0) -> Summary:
        """One bounded step of the sweep: expiry, parking, removal, promotion. ``scan``: how many entries of the hash to
        scan."""
        keys = (self.keys.watch, self.keys.lineups, self.keys.last_lineups)
        reply = await self._run("sweep", scan, *self._follow_arguments(), extra_keys=keys)
        return parse_summary(reply[0])

    def set_configured_limits(self, limits: ConfiguredLimits) -> None:
        """The limits configured at this instance from now on; they are written with the next beat."""
        if limits != self.limits:
            self.limits = limits
            self._room_arguments = _room_arguments(self._channel, limits)
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
            batchers = (
                self._lineups,
                self._invited,
                self._sightings,
                self._entries,
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
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    async def _close_links(self) -> None:
        for link in self._links.values():
            await link.close()

    async def _finish(self) -> None:
        """Continues at once where a call had to leave work behind. If this fails, the next sweep does the work."""
        while True:
            await self._unfinished.wait()
            self._unfinished.clear()
            with contextlib.suppress(QueueUnavailable):
                await self.sweep()

    async def _send_lineup(self, users: list[str]) -> list[State]:
        return await self.opener.lined_up(users, self._line_up)

    async def _send_invited(self, entries: list[tuple[str, Invitation]]) -> list[State]:
        return await self.opener.lined_up(entries, self._line_up_invited)

    async def _line_up(self, users: Sequence[str]) -> list[State]:
        # The answer must survive the loss of the master, if configured so: the ticket is stored nowhere but in the
        # line.
        keys = (self.keys.lineups, self.keys.last_lineups, self.keys.draw)
        return await self._states("lineup", users, extra_keys=keys, replication=self._replication)

    async def _line_up_invited(self, entries: Sequence[tuple[str, Invitation]]) -> list[State]:
        users = [part for user, given in entries for part in (user, given.uses, given.expires_at)]
        keys = [self.keys.invitation(given.id) for _, given in entries]
        reply = await self._run(
            "lineup",
            *users,
            size=len(entries),
            extra_keys=(self.keys.lineups, self.keys.last_lineups, self.keys.draw, *keys),
            replication=self._replication,
        )
        states = parse_states(self.name, parse_summary(reply[0]), reply[1:])
        return with_salts(states, reply[1:], [user for user, _ in entries])

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
        link: str | None = None,
        extra_keys: Sequence[str] = (),
        replication: Replication | None = None,
    ) -> list[State]:
        arguments = (*options, *users)
        reply = await self._run(
            script, *arguments, size=len(users), link=link, extra_keys=extra_keys, replication=replication
        )
        summary = parse_summary(reply[0])
        if summary.mode == "off":
            return [self._let_in()] * len(users)
        states = parse_states(self.name, summary, reply[1:])
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
        reply: list[Any] = await self._link(link or script).run(
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

    async def settings(self) -> dict[str, tuple[Value, str]]:
        """Each setting of ``RoomRules``: the value in force, and who gave it (``operator``, ``file``, ``environment``,
        ``default``). Raises QueueUnavailable."""
        try:
            stored = await self._link("statuses").call("HMGET", self.keys.settings, "rules", "operator_rules")
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return self.limits.in_force(*stored)

    def _note_summary(self, summary: Summary) -> None:
        # Replies come over several connections, so an older one may come last.
        if summary.now < self._summary_at:
            return
        self._summary_at = summary.now
        if self.mode != summary.mode:
            log.info("room %s: the mode is now %s", self.name, summary.mode)
        self._mode, self._duration = summary.mode, summary.duration
        self._note_following(summary.following)

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
        """A separate connection for each kind of call, so that no call waits behind another kind; above all the
        gate."""
        link = self._links.get(purpose)
        if link is None:
            link = self._links[purpose] = self._new_link()
        return link


def _nothing() -> None:
    """No-op."""


def channel(keys: RoomKeys, redis: Redis) -> str:
    """The pub/sub channel of a room. All databases of a Redis share their channels, so the name includes the number."""
    return f"{keys.events}@{redis.database}"


def _room_arguments(channel: str, limits: ConfiguredLimits) -> tuple[Argument, ...]:
    return (channel, limits.capacity, round(limits.duration * 1000), limits.rules.as_text())


def _sendable(user: str) -> str:
    """Raises ValueError here, for one caller, where the id would otherwise make the whole batch fail."""
    user.encode()
    return user


def _limits(summary: Summary) -> tuple[int, float]:
    return summary.capacity, summary.duration
