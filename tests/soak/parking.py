"""A pair in a room of its own: one user goes away, the other one stays and watches. What they prove about parking.

The room admits nobody, so that nothing but parking moves them. Both see what any client sees: answers of 502, 503 and
504, and calls without an answer, prove nothing. After Redis was emptied the pair begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.demo.rules import EDGE, SWEPT, Rule
from tests.soak.caller import Caller, Say
from tests.soak.watched_rooms import ABSENT, HOLD

_POLL_SECONDS = 0.4
_PATIENCE = 30.0
_SURE = ABSENT + SWEPT + 1.0
"""For so long no fault may have kept the gateways from seeing who is there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer to a lineup or a status."""

    state: str
    ticket: int
    position: int
    total: int


class BeginAnew(Exception):
    """Redis was emptied meanwhile, or the gateways could not see for too long: nothing is proven."""


class Pair:
    """``say(rule, holds, what)`` takes each check. ``quiet``: seconds since the end of the last fault that blinds."""

    def __init__(self, caller: Caller, say: Say, quiet: Callable[[], float]) -> None:
        self._caller = caller
        self._say = say
        self._quiet = quiet
        self._emptied = False
        self._names = itertools.count(1)

    def emptied(self) -> None:
        """Redis has been emptied."""
        self._emptied = True

    async def run(self) -> None:
        """One pair after the other, until cancelled."""
        while True:
            number = next(self._names)
            self._emptied = False
            goes, stays = f"goes-{number}", f"stays-{number}"
            with contextlib.suppress(BeginAnew):
                await self._once(goes, stays, ("POST", "lineup") if number % 2 else ("GET", "status"))
            for user in (goes, stays):
                await self._leave(user)

    async def _once(self, goes: str, stays: str, returns_by: tuple[str, str]) -> None:
        asked = time.monotonic()
        first = await self._ask("POST", "lineup", goes)
        seen = time.monotonic()
        second = await self._ask("POST", "lineup", stays)
        assert first
        assert second
        self._check(Rule.TICKETS, second.ticket > first.ticket, f"{second} after {first}")
        # Not parked early, and parked in the end.
        await self._until(stays, second.ticket, asked)
        # Back with the same ticket.
        asked = time.monotonic()
        back = await self._ask(*returns_by, goes, might_be_gone=True)
        in_time = time.monotonic() < seen + ABSENT + HOLD - EDGE
        if back is None:
            self._check(Rule.LOST, not in_time, "a parked user is gone before the end of the hold")
            return
        same = back.ticket == first.ticket
        if in_time:
            self._check(Rule.BLIP, same and back.position == 1, f"a parked user had {first}, and now {back}")
        if not same:
            return
        watched = await self._ask("GET", "status", stays)
        assert watched
        if time.monotonic() - asked < ABSENT - EDGE:
            self._check(Rule.POSITION, watched.position == 2, f"{back} is back, and behind is {watched}")
        # Away until the hold is over.
        await self._until(stays, second.ticket, asked)
        while time.monotonic() - asked < ABSENT + HOLD + 2 * SWEPT:
            await self._ask("GET", "status", stays)
            await asyncio.sleep(_POLL_SECONDS)
        if self._quiet() > HOLD + _SURE:
            gone = await self._ask("GET", "status", goes, might_be_gone=True)
            self._check(Rule.ABSENT, gone is None, f"still there after the hold: {gone}")

    async def _until(self, stays: str, ticket: int, since: float) -> None:
        """Polls until the one who went away is parked. ``since``: when that user was seen, at the earliest."""
        while True:
            sent = time.monotonic()
            shown = await self._ask("GET", "status", stays)
            assert shown
            self._check(Rule.TICKETS, shown.ticket == ticket, f"ticket {ticket} has become {shown}")
            away = time.monotonic() - since
            if shown.position == 1:
                self._check(Rule.ABSENT, away > ABSENT - EDGE, f"parked after {away:.1f} s: {shown}")
                self._check(Rule.ABSENT, shown.total == 1, f"a parked user counts: {shown}")
                return
            if sent - since > ABSENT + SWEPT and self._quiet() > _SURE:
                self._check(Rule.ABSENT, False, f"not parked after {sent - since:.1f} s: {shown}")
                raise BeginAnew
            if away > _PATIENCE:
                raise BeginAnew
            await asyncio.sleep(_POLL_SECONDS)

    def _check(self, rule: Rule, holds: bool, what: str) -> None:
        if self._emptied:
            raise BeginAnew
        self._say(rule, holds, f"parking: {what}")

    async def _ask(self, method: str, what: str, user: str, *, might_be_gone: bool = False) -> Shown | None:
        """Until there is an answer. None: not in the room, if that may be."""
        while True:
            status, body = await self._caller.call(method, what, user)
            if self._emptied:
                raise BeginAnew
            if status == 200 and body["state"] == "WAITING":
                data = body["data"]
                return Shown("WAITING", data["ticket"], data["userQueuePosition"], data["totalQueueSize"])
            if status == 404 and might_be_gone:
                return None
            if status in {200, 404}:
                self._check(Rule.LOST, False, f"{what} of {user}: {status} {body}")
                raise BeginAnew
            await asyncio.sleep(_POLL_SECONDS)

    async def _leave(self, user: str) -> None:
        while (await self._caller.call("POST", "leave", user))[0] != 204:
            await asyncio.sleep(_POLL_SECONDS)
