"""One user after the other lines up in a room with one slot and a claim window, and claims it or does not.

What the answers prove: nobody loses the slot before ``claimBy``; whoever did not claim it is back with the same ticket,
and out the second time; whoever claimed it keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any

from gateway.demo.rules import EDGE, SWEPT, Rule
from tests.soak.caller import Caller, Say
from tests.soak.watched_rooms import CLAIM

_POLL_SECONDS = 0.3


class BeginAnew(Exception):
    """Redis was emptied, or an answer proves nothing: another pair of users begins."""


class Claimants:
    """``say(rule, holds, what)`` takes each check. ``quiet``: seconds since the end of the last fault that blinds."""

    def __init__(self, caller: Caller, say: Say, quiet: Callable[[], float]) -> None:
        self._caller = caller
        self._say = say
        self._quiet = quiet
        self._emptied = False

    def emptied(self) -> None:
        """Redis has been emptied."""
        self._emptied = True

    async def run(self) -> None:
        """One pair after the other, until cancelled."""
        for number in itertools.count(1):
            self._emptied = False
            holder, waits = f"holds-{number}", f"claims-{number}"
            with contextlib.suppress(BeginAnew):
                await self._once(holder, waits, claims=number % 2 == 0)
            for user in (holder, waits):
                while (await self._caller.call("POST", "leave", user))[0] != 204:
                    await asyncio.sleep(_POLL_SECONDS)

    async def _once(self, holder: str, waits: str, *, claims: bool) -> None:
        if await self._ask("POST", "lineup", holder) != "ALLOWED_IN":
            raise BeginAnew
        state = await self._ask("POST", "lineup", waits)
        if state != "WAITING":
            raise BeginAnew
        ticket = self._body["data"]["ticket"]
        freed = time.time()
        while (await self._caller.call("POST", "leave", holder))[0] != 204:
            await asyncio.sleep(_POLL_SECONDS)
        if await self._ask("GET", "status", waits) != "ALLOWED_IN":
            raise BeginAnew
        if self._body.get("claimBy", 0) / 1000 >= freed + 2 * CLAIM:
            # So late that it may be the second window: the first one was over before there was an answer.
            raise BeginAnew
        if claims:
            await self._claim(waits)
        else:
            await self._do_not_claim(waits, holder, ticket)

    async def _claim(self, user: str) -> None:
        by = self._body.get("claimBy", 0) / 1000
        sent = time.time()
        if await self._ask("POST", "claim", user) != "ALLOWED_IN" or time.time() > by - EDGE:
            raise BeginAnew
        while time.time() - sent < CLAIM + SWEPT:
            await asyncio.sleep(_POLL_SECONDS)
            state = await self._ask("GET", "status", user)
            self._check(Rule.SESSION, state == "ALLOWED_IN", f"{user} claimed the slot, and is {state}")

    async def _do_not_claim(self, user: str, other: str, ticket: int) -> None:
        """Another user waits, who gets the slot."""
        by = self._body.get("claimBy", 0) / 1000
        self._check(Rule.SESSION, bool(by) or self._quiet() < CLAIM, f"{user} is not told to claim")
        if not by or await self._ask("POST", "lineup", other) != "WAITING":
            raise BeginAnew
        while (state := await self._ask("GET", "status", other)) == "WAITING":
            late = time.time() - by
            if late > SWEPT and self._quiet() > 2 * SWEPT:
                self._check(Rule.ORDER, False, f"{user} has held an unclaimed slot for {late:.1f} s too long")
                raise BeginAnew
            await asyncio.sleep(_POLL_SECONDS)
        if state != "ALLOWED_IN":
            raise BeginAnew
        early = by - time.time()
        self._check(Rule.SESSION, early < EDGE, f"{user} lost the slot {early:.1f} s too early")
        state = await self._ask("GET", "status", user)
        same = state == "WAITING" and self._body["data"]["ticket"] == ticket
        # The other one must claim the slot, too: later this user may be back inside, or out.
        if time.time() < by + CLAIM - EDGE:
            self._check(Rule.LOST, same, f"{user} did not claim with ticket {ticket}, and is {self._body}")

    def _check(self, rule: Rule, holds: bool, what: str) -> None:
        if self._emptied:
            raise BeginAnew
        self._say(rule, holds, f"claims: {what}")

    async def _ask(self, method: str, what: str, user: str) -> str:
        """Until there is an answer; the state, or the code of the refusal."""
        while True:
            status, body = await self._caller.call(method, what, user)
            if self._emptied:
                raise BeginAnew
            if status in {200, 404}:
                self._body: dict[str, Any] = body
                return str(body.get("state") or "NONE")
            await asyncio.sleep(_POLL_SECONDS)
