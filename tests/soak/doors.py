"""An operator closes a room, opens it, empties it and sells it out, while users line up in it.

The room has a slot, a claim window, parking, and a bound of those in line. What the answers prove: a closed door keeps
new users out and costs nobody the place; a full line takes no one more; an emptied line has nobody in it; a sold-out
room ends the line for good and leaves those inside alone; and the history of each user says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable

from gateway.demo.rules import Rule
from tests.soak.caller import Caller, Say
from tests.soak.watched_rooms import DOOR_SESSION, MAX_WAITING

_POLL_SECONDS = 0.3
_ANSWERS = {200, 404, 410}
_REFUSALS = {"ROOM_CLOSED", "ROOM_FULL", "SOLD_OUT"}


class BeginAnew(Exception):
    """Redis was emptied, or so much time was lost that an answer proves nothing: other users begin."""


class Doors:
    """``say(rule, holds, what)`` takes each check. ``quiet``: seconds since the end of the last fault that blinds."""

    def __init__(self, caller: Caller, say: Say, quiet: Callable[[], float]) -> None:
        self._caller = caller
        self._say = say
        self._quiet = quiet
        self._emptied = False
        self._ticket = 0
        self._acted = 0.0
        """When the operator last acted, by the monotonic clock."""

    def emptied(self) -> None:
        """Redis has been emptied."""
        self._emptied = True

    async def run(self) -> None:
        """One round after the other, until cancelled."""
        for number in itertools.count(1):
            self._emptied = False
            users = tuple(f"{what}-{number}" for what in ("inside", "waits", "comes", "late"))
            with contextlib.suppress(BeginAnew):
                await self._once(*users)
            self._emptied = False
            await self._act("reopen")
            for user in users:
                while (await self._caller.call("POST", "leave", user))[0] != 204:
                    await asyncio.sleep(_POLL_SECONDS)
            await asyncio.sleep(_POLL_SECONDS)

    async def _once(self, inside: str, waits: str, comes: str, late: str) -> None:
        self._until = time.monotonic() + DOOR_SESSION / 2
        if await self._line_up(inside) != "ALLOWED_IN" or await self._line_up(waits) != "WAITING":
            raise BeginAnew
        ticket = self._ticket
        await self._act("close")
        await self._expect(comes, "ROOM_CLOSED", "lines up at a closed door", line_up=True)
        await self._expect(waits, "WAITING", "waits behind a closed door")
        self._check(Rule.LOST, self._ticket == ticket, f"{waits} had ticket {ticket}, and has {self._ticket}")
        await self._act("reopen")
        await self._expect(comes, "WAITING", "lines up at an open door", line_up=True)
        state = await self._line_up(late)
        self._check(Rule.BOUNDS, state == "ROOM_FULL", f"{late} is {state} in a line of {MAX_WAITING}")
        await self._act("empty")
        for user in (waits, comes):
            await self._expect(user, "NONE", "waited in a line that was emptied")
        await self._expect(inside, "ALLOWED_IN", "is inside an emptied room")
        await self._look_at_history(waits, "JOINED", "OPERATOR")
        await self._expect(waits, "WAITING", "lines up in an emptied room", line_up=True)
        await self._act("sold-out")
        await self._expect(waits, "SOLD_OUT", "waited in a sold-out room")
        await self._expect(comes, "SOLD_OUT", "lines up in a sold-out room", line_up=True)
        await self._expect(inside, "ALLOWED_IN", "is inside a sold-out room")
        await self._look_at_history(waits, "JOINED", "SOLD_OUT")

    async def _expect(self, user: str, state: str, what: str, *, line_up: bool = False) -> None:
        found = await (self._line_up(user) if line_up else self._state(user))
        self._check(Rule.DOORS, found == state, f"{user} {what}, and is {found} instead of {state}")

    async def _look_at_history(self, user: str, first: str, reason: str) -> None:
        """The user's entries begin with the first event, and the last one says why the place ended."""
        status, body = 0, {}
        while status != 200:
            self._give_up_if_late()
            status, body = await self._caller.call("GET", "history", user)
            await asyncio.sleep(0 if status == 200 else _POLL_SECONDS)
        entries = [(each["event"], each["reason"]) for each in body["data"]]
        holds = bool(entries) and entries[0][0] == first and entries[-1] == ("REMOVED", reason)
        self._check(Rule.HISTORY, holds, f"{user}: {entries}")

    async def _line_up(self, user: str) -> str:
        return await self._ask("POST", "lineup", user)

    async def _state(self, user: str) -> str:
        return await self._ask("GET", "status", user)

    async def _act(self, act: str) -> None:
        while await self._caller.act(act) != 200:
            await asyncio.sleep(_POLL_SECONDS)
        self._acted = time.monotonic()

    async def _ask(self, method: str, what: str, user: str) -> str:
        """Until there is an answer that a door or the line gives; the state, or the code of the refusal."""
        unanswered = False
        while True:
            self._give_up_if_late()
            status, body = await self._caller.call(method, what, user)
            code = str((body.get("error") or {}).get("code", ""))
            if status in _ANSWERS or code in _REFUSALS:
                if unanswered and what == "lineup":
                    # It may take effect at any later moment, also after what the operator does next.
                    raise BeginAnew
                self._ticket = (body.get("data") or {}).get("ticket", self._ticket)
                return str(body.get("state") or (code if code in _REFUSALS else "NONE"))
            unanswered = True
            await asyncio.sleep(_POLL_SECONDS)

    def _give_up_if_late(self) -> None:
        if self._emptied or time.monotonic() > self._until:
            raise BeginAnew

    def _check(self, rule: Rule, holds: bool, what: str) -> None:
        self._give_up_if_late()
        if self._quiet() < time.monotonic() - self._acted:
            # A Redis that is killed may lose what it has answered within the last second: it syncs its file once a
            # second, and puts even writing off while a sync goes on.
            raise BeginAnew
        self._say(rule, holds, f"doors: {what}")
        if not holds:
            # What comes next would only repeat it.
            raise BeginAnew
