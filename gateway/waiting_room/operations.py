"""What operators do to a room, and what they ask about it. The rules are in ``lua_scripts/``."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.audit import AuditEntry, parse_audit
from gateway.waiting_room.batch import sendable
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.instances import Instance, read_instances
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.notices import parse_notice
from gateway.waiting_room.redis.connection import RedisConnection
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.report import Report, parse_report
from gateway.waiting_room.rules import Value, change_text, parse_stock
from gateway.waiting_room.state import Left, Summary, parse_summary
from gateway.waiting_room.whereabouts import Whereabouts, count_of, parse_whereabouts

GATEWAY = "gateway"
"""The name in the audit for changes that no operator made."""

_AT_ONCE: Final = 60
"""Minutes of a report that are read without a thread."""

Lift = Literal["lift"]
"""Of a limit: back to what the instances are configured with."""

DoorAct = Literal["close", "reopen", "sold_out", "empty"]


class Run(Protocol):
    """Calls a script of the room and returns its reply. ``size``: of how many users. ``link``: by which connection, if
    not by the one of this script."""

    async def __call__(
        self,
        script: str,
        *args: Argument,
        size: int = 1,
        link: str | None = None,
        extra_keys: Sequence[str] = (),
    ) -> list[Any]: ...


class Operations:
    """The acts and questions of operators for one room.

    ``link`` is for reads without a script. ``limits`` returns what the room is configured with at this instance. Every
    method raises QueueUnavailable if Redis can't be reached; ``by`` and ``reason`` are for the audit. A user id that
    can't be encoded as UTF-8 raises UnicodeEncodeError.
    """

    def __init__(
        self, keys: RoomKeys, run: Run, link: RedisConnection, limits: Callable[[], ConfiguredLimits]
    ) -> None:
        self._keys = keys
        self._run = run
        self._link = link
        self._limits = limits

    async def remove(self, users: Sequence[str], *, by: str = GATEWAY, reason: str = "") -> list[Left]:
        """An operator removes the slot or the place of each of at most 256 users."""
        pairs = [part for user in users for part in ("both", user)]
        keys = (self._keys.audit,)
        reply = await self._run("leave", "OPERATOR", by, reason, *pairs, size=len(users), extra_keys=keys)
        return [Left(code) for code in reply[1:]]

    async def front(self, user: str, *, by: str = GATEWAY, reason: str = "") -> bool:
        """An operator puts a user in front of all others. Returns whether the user was in line or parked; otherwise
        nothing was changed."""
        keys = (self._keys.audit,)
        reply = await self._run("front", sendable(user), by, reason, link="sweep", extra_keys=keys)
        return bool(reply[1])

    async def note(self, act: str, *, user: str, what: str, by: str, reason: str) -> None:
        """Writes an act of an operator that changes nothing in Redis into the audit."""
        arguments = (act, sendable(user), what, by, reason)
        await self._run("note", *arguments, link="sweep", extra_keys=(self._keys.audit,))

    async def set_limits(
        self,
        *,
        capacity: int | Lift | None = None,
        duration: float | Lift | None = None,
        paused: bool | None = None,
        lift: bool = False,
        rules: Mapping[str, Value | None] | None = None,
        stock: int | Literal["off"] | None = None,
        by: str = GATEWAY,
        reason: str = "",
    ) -> Summary:
        """Sets an operator's limits and other settings, which override those configured at the instances until they are
        lifted.

        ``duration`` in seconds; None leaves a limit as it is, ``lift`` goes back to what is configured for it.
        ``rules``: fields of ``RoomRules`` to change; None goes back to what is configured. ``stock``: how many things
        are left to sell, ``off`` if that is not known any more.
        ``lift`` first goes back to all that is configured.
        """
        reply = await self._run(
            "limits",
            "" if capacity is None else capacity,
            "" if duration is None else duration if duration == "lift" else round(duration * 1000),
            "" if paused is None else int(paused),
            int(lift),
            change_text(rules or {}),
            by,
            reason,
            "" if stock is None else stock,
            link="sweep",
            extra_keys=(self._keys.audit,),
        )
        return parse_summary(reply[0])

    async def set_doors(
        self, act: DoorAct, *, until: int = 0, by: str = GATEWAY, reason: str = ""
    ) -> Summary:
        """An operator closes the room, reopens it, says that it is sold out, or removes all users from the line.
        ``until``: to close until this moment, in epoch milliseconds; 0: until the room is reopened.

        If many users lose their places, some do so after the call, in further steps.
        """
        reply = await self._run(
            "doors", act, until or "", by, reason, link="sweep", extra_keys=(self._keys.audit,)
        )
        return parse_summary(reply[0])

    async def set_notice(
        self, language: str, text: str, *, drop_all: bool = False, by: str = GATEWAY, reason: str = ""
    ) -> tuple[Summary, dict[str, str]]:
        """An operator tells all users something: those of ``language``, or with ``""`` those of all languages without a
        text of their own. An empty ``text`` takes it back. ``drop_all`` first takes back the texts of all languages.
        Returns the texts in force too, by language."""
        arguments = (language, text, int(drop_all), by, reason)
        reply = await self._run("notice", *arguments, link="sweep", extra_keys=(self._keys.audit,))
        return parse_summary(reply[0]), parse_notice(reply[1])

    async def find(self, user: str) -> Whereabouts:
        """Where the user stands. It does not count as a sighting."""
        reply = await self._run("find", sendable(user), link="statuses")
        found = parse_whereabouts(reply[1:])
        try:
            call = self._link.call
            instances = await call("ZRANGE", self._keys.instances, 0, -1)
            here = {
                name: count_of(await call("HGET", self._keys.several(name), user))
                for name in (each.decode("utf-8", "replace") for each in instances)
                if await call("SISMEMBER", self._keys.here(name), user)
            }
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return found._replace(streams=here)

    async def instances(self) -> list[Instance]:
        """The instances that serve the room."""
        return await read_instances(self._link, self._keys)

    async def audit(self, count: int) -> list[AuditEntry]:
        """The last changes of operators, at most ``count``, the newest first."""
        try:
            reply = await self._link.call("XREVRANGE", self._keys.audit, "+", "-", "COUNT", count)
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return parse_audit(reply)

    async def report(self, minutes: int) -> Report:
        """How the room stands, and the numbers of the last minutes."""
        keys = (self._keys.watch, self._keys.minutes)
        reply = await self._run("report", minutes, link="statuses", extra_keys=keys)
        # A day takes some tens of milliseconds.
        read = (
            parse_report(reply, minutes)
            if minutes <= _AT_ONCE
            else await to_thread(parse_report, reply, minutes)
        )
        return Report(parse_summary(reply[0]), read)

    async def settings(self) -> dict[str, tuple[Value, str]]:
        """Capacity, duration, each setting of ``RoomRules``, and ``stock``: the value in force, and who gave it
        (``operator``, ``service``, ``file``, ``environment``, ``default``)."""
        try:
            limits = "capacity", "duration_ms", "override", "override_except"
            *stored, rules, operator_rules, stock = await self._link.call(
                "HMGET", self._keys.settings, *limits, "rules", "operator_rules", "stock"
            )
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        configured, in_stock = self._limits(), {"stock": parse_stock(stock)}
        return configured.limits_in_force(*stored) | configured.in_force(rules, operator_rules) | in_stock
