"""Users line up again and again, more often than the room allows. Only lineups with an answer prove something."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable

from gateway.demo.rules import EDGE, Rule
from tests.soak.caller import Caller, Say
from tests.soak.watched_rooms import LINEUPS_PER_MINUTE

_POLL_SECONDS = 0.3
_MINUTE = 60.0


class Bounds:
    """``say(rule, holds, what)`` takes each check. ``quiet``: seconds since the end of the last fault that blinds."""

    def __init__(self, caller: Caller, say: Say, quiet: Callable[[], float]) -> None:
        self._caller = caller
        self._say = say
        self._emptied = False

    def emptied(self) -> None:
        """Redis has been emptied."""
        self._emptied = True

    async def run(self) -> None:
        """One user after the other, until cancelled."""
        for number in itertools.count(1):
            self._emptied = False
            user = f"eager-{number}"
            await self._once(user)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MINUTE):
                    while (await self._caller.call("POST", "leave", user))[0] != 204:
                        await asyncio.sleep(_POLL_SECONDS)
            await asyncio.sleep(_POLL_SECONDS)

    async def _once(self, user: str) -> None:
        began = time.monotonic()
        taken = 0
        for _ in range(LINEUPS_PER_MINUTE):
            status, body = await self._caller.call("POST", "lineup", user)
            if status != 200 or body.get("state") != "WAITING":
                return
            taken += 1
        status, body = await self._caller.call("POST", "lineup", user)
        code = (body.get("error") or {}).get("code")
        late = time.monotonic() - began > _MINUTE - EDGE
        if status in {0, 502, 503, 504} or self._emptied or late:
            return
        what = f"bounds: after {taken} lineups {user} got {status} {code}"
        self._say(Rule.BOUNDS, code == "TOO_MANY_LINEUPS", what)
        status, body = await self._caller.call("GET", "status", user)
        if status in {200, 404} and not self._emptied:
            kept = body.get("state") == "WAITING"
            self._say(Rule.LOST, kept, f"bounds: {user} lined up too often, and is {body.get('state')}")
