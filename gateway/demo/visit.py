"""One person's visit to the sale, from arriving to leaving: what the behaviours do, over real HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from gateway.demo.auth import PASSWORD
from gateway.demo.behaviour import Behaviour, Person
from gateway.demo.client import Client, Listening, Reply, StreamEnded
from gateway.demo.plan import Limits
from gateway.demo.rules import DRIFT, SWEPT
from gateway.demo.sale import Sale
from gateway.demo.seen import Call, Outcome, Standing

TRIES = 30
SEATS, RESERVATIONS, PAYMENTS = "/api/v1/reservation-seats", "/api/v1/reservations", "/api/v1/payments"
# What a cheat would send; the gateway must let none of it through.
FORGED = {"X-User-Id": "somebody-else", "X_User_Id": "somebody-else", "X-User-Type": "ADMIN"}


class Refused(Exception):
    """Turned away, or left without an answer: the visit can't go on."""


class Visit:
    """One person's visit, from arriving to leaving."""

    def __init__(self, person: Person, client: Client, limits: Limits, sale: Sale) -> None:
        self._person = person
        self._client = client
        self._limits = limits
        self._sale = sale
        self._rng = random.Random(person.luck)
        self._asked = self._answered = self._inside = False
        self._seat = 0
        self._going: Outcome | None = None  # what the visit counts as, if the sale closes now

    async def run(self) -> Outcome:
        """Do it all; how it ended."""
        try:
            with self._sale.hours() as hours:
                async with hours:
                    return await self._visit()
        except TimeoutError:
            return await self._closing_time()
        except Refused:
            # Whether the session really was over is for the observer to say.
            return Outcome.TIMED_OUT if self._inside else Outcome.LOST

    async def _visit(self) -> Outcome:
        await asyncio.sleep(self._sale.opened + self._person.arrives - asyncio.get_running_loop().time())
        await self._log_in()
        if self._person.behaviour is Behaviour.CRASHES:
            await self._client.call(Call.ANONYMOUS, "POST", f"{SEATS}/1")
            await self._knock()
        standing = await self._line_up()
        if standing.state != "ALLOWED_IN":
            polls = self._person.behaviour is Behaviour.POLLS
            ended = await (self._poll() if polls else self._wait())
            if ended is not None:
                return ended
        return await self._shop()

    async def _log_in(self) -> None:
        for _ in range(TRIES):
            body = {"email": self._person.email, "password": PASSWORD}
            reply = await self._client.call(Call.LOGIN, "POST", "/api/v1/auth/login", body=body)
            if reply is not None and reply.seen.status == 200:
                self._client.token = reply.body["accessToken"]
                return
            await asyncio.sleep(1.0)
        raise Refused

    async def _line_up(self) -> Standing:
        """Line up, coming back as often as asked to. After no clear answer, the status tells what happened."""
        for _ in range(TRIES):
            self._asked = True
            reply = await self._client.call(Call.LINEUP, "POST", "/api/v1/queue/lineup")
            if reply is None or reply.seen.standing.code == "QUEUE_UNAVAILABLE":
                reply = await self._status()
            if reply is not None and reply.seen.status == 200:
                self._answered = True
                return reply.seen.standing
            await asyncio.sleep((reply and reply.seen.retry_after) or 1.0)
        raise Refused

    async def _status(self) -> Reply | None:
        return await self._client.call(Call.STATUS, "GET", "/api/v1/queue/status")

    async def _knock(self) -> Reply | None:
        """Try the gate."""
        return await self._client.call(Call.GATED, "POST", f"{SEATS}/{self._rng.randint(1, 9)}")

    # --- in line ---

    async def _wait(self) -> Outcome | None:
        """Wait with an open stream. None: let in; else how the visit ended."""
        never = self._sale.closes + 60
        moment = asyncio.get_running_loop().time() + self._person.moment
        if self._person.behaviour in (Behaviour.BUYS, Behaviour.WALKS_OFF):
            moment = never
        while True:
            try:
                async with self._client.listening() as stream:
                    last = await stream.last_frame(moment)
                    if last is None and self._person.behaviour is Behaviour.CRASHES:
                        await self._knock()
                        last = await stream.last_frame(never)
                    if last is not None:
                        return None if last.name == "ALLOWED_IN" else Outcome.PLACE_GONE
                    if self._person.behaviour is Behaviour.GIVES_UP:
                        return await self._give_up(stream)
            except StreamEnded as ended:
                await asyncio.sleep(min(ended.retry, 1.0 + self._rng.random()))
                continue
            moment = never
            if self._person.behaviour is Behaviour.CLOSES_TAB:
                return await self._look_again()
            if self._person.behaviour is Behaviour.BLIPS:
                await asyncio.sleep(self._person.away)
            elif self._person.behaviour is Behaviour.REFRESHES:
                standing = await self._line_up()
                if standing.state == "ALLOWED_IN":
                    return None

    async def _poll(self) -> Outcome | None:
        """Wait the older way, by asking again and again."""
        while True:
            await asyncio.sleep(self._limits.interval * self._rng.uniform(0.4, 0.6))
            reply = await self._status()
            if reply is not None and reply.seen.standing.state == "ALLOWED_IN":
                return None
            if reply is not None and reply.seen.status == 404:
                return Outcome.PLACE_GONE

    async def _give_up(self, stream: Listening) -> Outcome:
        self._going = Outcome.GAVE_UP
        if self._rng.random() < 0.5:
            await self._client.call(Call.LEAVE, "POST", "/api/v1/queue/leave")
        else:
            await self._leave_line_or_room()
        await stream.last_frame(asyncio.get_running_loop().time() + 2.0)
        return Outcome.GAVE_UP

    async def _look_again(self) -> Outcome:
        """Away for longer than the room puts up with; then see what is left, and leave that too."""
        self._going = Outcome.CLOSED_TAB
        await asyncio.sleep(self._limits.absent + SWEPT + 0.5)
        reply = await self._status()
        if reply is not None and reply.seen.status == 200:
            await self._client.call(Call.LEAVE, "POST", "/api/v1/queue/leave")
        return Outcome.CLOSED_TAB

    # --- in the room ---

    async def _shop(self) -> Outcome:
        self._inside = True
        pause = self._person.shops
        await self._pause(pause * 0.15)
        if not await self._find_seat(pause * 0.35):
            await self._leave_room()
            return Outcome.SOLD_OUT
        if self._person.behaviour is Behaviour.WALKS_OFF:
            self._going = Outcome.WALKED_OFF
            await asyncio.sleep(self._limits.duration + 2 * DRIFT)
            await self._knock()
            return Outcome.WALKED_OFF
        await self._pause(pause * 0.35)
        reserved = await self._gated(RESERVATIONS, {"seat": self._seat})
        await self._pause(pause * 0.15)
        body = {"reservationId": reserved.body.get("reservationId", "")}
        paid = await self._client.call(Call.PAY, "POST", PAYMENTS, body=body)
        await self._leave_room()
        if self._person.luck % 5 == 0:
            await self._knock()
        return Outcome.BOUGHT if paid is not None and paid.seen.status == 201 else Outcome.SOLD_OUT

    async def _find_seat(self, pause: float) -> bool:
        """Pick one of the free seats shown, as long as others are faster and seats are left."""
        while True:
            reply = await self._client.call(Call.BROWSE, "GET", "/api/v1/products/1")
            free = reply.body["freeSeats"] if reply is not None and reply.seen.status == 200 else []
            await self._pause(pause)
            self._seat = self._rng.choice(free or [1])
            reply = await self._gated(f"{SEATS}/{self._seat}", None)
            if reply.seen.status != 409:
                return True
            if not free:
                return False
            pause *= 0.5

    async def _gated(self, path: str, body: Mapping[str, object] | None) -> Reply:
        headers = FORGED if self._person.luck % 4 == 1 else None
        reply = await self._client.call(Call.GATED, "POST", path, body=body, headers=headers)
        if reply is None or not reply.seen.passed:
            raise Refused
        return reply

    async def _leave_room(self) -> Reply | None:
        return await self._client.call(Call.LEAVE_SLOT, "DELETE", "/api/v1/queue/allowed-in-token")

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._rng.uniform(0.8, 1.2))

    # --- leaving ---

    async def _leave_line_or_room(self) -> bool:
        """Whoever is no longer in line when leaving it was let in just before, and leaves that. False: neither."""
        left = await self._client.call(Call.LEAVE_LINE, "DELETE", "/api/v1/queue/waiting-token")
        if left is None or left.seen.status != 200:
            left = await self._leave_room()
        return left is not None and left.seen.status == 200

    async def _closing_time(self) -> Outcome:
        """Everybody leaves properly; what they were about to do anyway still counts as that."""
        if not self._asked:
            return Outcome.NEVER_IN_LINE
        if self._inside:
            await self._leave_room()
            return self._going or Outcome.CUT_SHORT
        if await self._leave_line_or_room():
            return self._going or Outcome.STILL_WAITING
        # Neither in line nor in, although an answer said so: whether that is in order is for the observer to say.
        return self._going or (Outcome.PLACE_GONE if self._answered else Outcome.NEVER_IN_LINE)
