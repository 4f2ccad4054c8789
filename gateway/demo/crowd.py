"""The crowd at the sale: what each person does from arrival to leave, over real HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import aiohttp

from gateway.demo.client import Client, EventStream, Reply, StreamInterrupted
from gateway.demo.observations import Call, Observation, Outcome, QueueStatus, VisitFinished
from gateway.demo.plan import Behaviour, Limits, Person
from gateway.demo.rules import DRIFT, SWEPT
from gateway.demo.services import PASSWORD

TRIES = 30
SEATS, RESERVATIONS, PAYMENTS = "/api/v1/reservation-seats", "/api/v1/reservations", "/api/v1/payments"
# Headers of a cheating client. The gateway must pass none of them on.
FORGED = {"X-User-Id": "somebody-else", "X_User_Id": "somebody-else", "X-User-Type": "ADMIN"}


class Sale:
    """The opening hours of the sale. Closing it interrupts all visits that have not ended."""

    def __init__(self, seconds: float) -> None:
        self.opened = asyncio.get_running_loop().time()
        self.closes = self.opened + seconds
        self._visits: set[asyncio.Timeout] = set()

    @contextmanager
    def hours(self) -> Iterator[asyncio.Timeout]:
        """A timeout, to be entered by the caller, that expires when the sale closes, even if that is earlier."""
        timeout = asyncio.timeout_at(self.closes)
        self._visits.add(timeout)
        try:
            yield timeout
        finally:
            self._visits.discard(timeout)

    def close(self) -> None:
        """Close the sale now."""
        self.closes = asyncio.get_running_loop().time()
        for visit in self._visits:
            visit.reschedule(self.closes)


class Refused(Exception):
    """The gateway refused a call or did not answer, and the visit can't go on."""


class Visit:
    """One person's visit, from arriving to leaving."""

    def __init__(self, person: Person, client: Client, limits: Limits, sale: Sale) -> None:
        self._person = person
        self._client = client
        self._limits = limits
        self._sale = sale
        self._rng = random.Random(person.luck)
        self._lineup_sent = self._lineup_answered = self._inside = False
        self._seat = 0
        self._outcome_at_close: Outcome | None = None  # the outcome, if the sale closes now

    async def run(self) -> Outcome:
        """Make the whole visit. Returns how it ended."""
        try:
            with self._sale.hours() as hours:
                async with hours:
                    return await self._visit()
        except TimeoutError:
            return await self._leave_at_close()
        except Refused:
            # The observer decides whether the session really was over.
            return Outcome.TIMED_OUT if self._inside else Outcome.LOST

    async def _visit(self) -> Outcome:
        await asyncio.sleep(self._sale.opened + self._person.arrives - asyncio.get_running_loop().time())
        await self._log_in()
        if self._person.behaviour is Behaviour.CRASHES:
            await self._client.call(Call.ANONYMOUS, "POST", f"{SEATS}/1")
            await self._try_gate()
        queue_status = await self._line_up()
        if queue_status.state != "ALLOWED_IN":
            polls = self._person.behaviour is Behaviour.POLLS
            ended = await (self._poll() if polls else self._wait())
            if ended is not None:
                return ended
        return await self._shop()

    async def _log_in(self) -> None:
        for _ in range(TRIES):
            body = {"email": self._person.email, "password": PASSWORD}
            reply = await self._client.call(Call.LOGIN, "POST", "/api/v1/auth/login", body=body)
            if reply is not None and reply.observed.status == 200:
                self._client.token = reply.body["accessToken"]
                return
            await asyncio.sleep(1.0)
        raise Refused

    async def _line_up(self) -> QueueStatus:
        """Line up, with retries as the gateway asks. After an unclear response, the status says what happened."""
        for _ in range(TRIES):
            self._lineup_sent = True
            reply = await self._client.call(Call.LINEUP, "POST", "/api/v1/queue/lineup")
            if reply is None or reply.observed.queue_status.code == "QUEUE_UNAVAILABLE":
                reply = await self._status()
            if reply is not None and reply.observed.status == 200:
                self._lineup_answered = True
                return reply.observed.queue_status
            await asyncio.sleep((reply and reply.observed.retry_after) or 1.0)
        raise Refused

    async def _status(self) -> Reply | None:
        return await self._client.call(Call.STATUS, "GET", "/api/v1/queue/status")

    async def _try_gate(self) -> Reply | None:
        """Make a gated call without knowing whether it may pass."""
        return await self._client.call(Call.GATED, "POST", f"{SEATS}/{self._rng.randint(1, 9)}")

    # --- in line ---

    async def _wait(self) -> Outcome | None:
        """Wait with an open stream. Returns None once let in, else how the visit ended."""
        never = self._sale.closes + 60
        moment = asyncio.get_running_loop().time() + self._person.moment
        if self._person.behaviour in (Behaviour.BUYS, Behaviour.WALKS_OFF):
            moment = never
        while True:
            try:
                async with self._client.open_stream() as stream:
                    last = await stream.last_frame(moment)
                    if last is None and self._person.behaviour is Behaviour.CRASHES:
                        await self._try_gate()
                        last = await stream.last_frame(never)
                    if last is not None:
                        return None if last.name == "ALLOWED_IN" else Outcome.PLACE_GONE
                    if self._person.behaviour is Behaviour.GIVES_UP:
                        return await self._give_up(stream)
            except StreamInterrupted as ended:
                await asyncio.sleep(min(ended.retry, 1.0 + self._rng.random()))
                continue
            moment = never
            if self._person.behaviour is Behaviour.CLOSES_TAB:
                return await self._return_after_absence()
            if self._person.behaviour is Behaviour.BLIPS:
                await asyncio.sleep(self._person.away)
            elif self._person.behaviour is Behaviour.REFRESHES:
                queue_status = await self._line_up()
                if queue_status.state == "ALLOWED_IN":
                    return None

    async def _poll(self) -> Outcome | None:
        """Wait without a stream, by polling the status. Returns as :meth:`_wait`."""
        while True:
            await asyncio.sleep(self._limits.interval * self._rng.uniform(0.4, 0.6))
            reply = await self._status()
            if reply is not None and reply.observed.queue_status.state == "ALLOWED_IN":
                return None
            if reply is not None and reply.observed.status == 404:
                return Outcome.PLACE_GONE

    async def _give_up(self, stream: EventStream) -> Outcome:
        self._outcome_at_close = Outcome.GAVE_UP
        if self._rng.random() < 0.5:
            await self._client.call(Call.LEAVE, "POST", "/api/v1/queue/leave")
        else:
            await self._leave_line_or_room()
        await stream.last_frame(asyncio.get_running_loop().time() + 2.0)
        return Outcome.GAVE_UP

    async def _return_after_absence(self) -> Outcome:
        """Stay away until the sweep must have evicted the person; then ask for the status, and leave if in line."""
        self._outcome_at_close = Outcome.CLOSED_TAB
        await asyncio.sleep(self._limits.absent + SWEPT + 0.5)
        reply = await self._status()
        if reply is not None and reply.observed.status == 200:
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
            self._outcome_at_close = Outcome.WALKED_OFF
            await asyncio.sleep(self._limits.duration + 2 * DRIFT)
            await self._try_gate()
            return Outcome.WALKED_OFF
        await self._pause(pause * 0.35)
        reserved = await self._gated(RESERVATIONS, {"seat": self._seat})
        await self._pause(pause * 0.15)
        body = {"reservationId": reserved.body.get("reservationId", "")}
        paid = await self._client.call(Call.PAY, "POST", PAYMENTS, body=body)
        await self._leave_room()
        if self._person.luck % 5 == 0:
            await self._try_gate()
        return Outcome.BOUGHT if paid is not None and paid.observed.status == 201 else Outcome.SOLD_OUT

    async def _find_seat(self, pause: float) -> bool:
        """Try free seats until one is held. Returns False if none is left."""
        while True:
            reply = await self._client.call(Call.BROWSE, "GET", "/api/v1/products/1")
            free = reply.body["freeSeats"] if reply is not None and reply.observed.status == 200 else []
            await self._pause(pause)
            self._seat = self._rng.choice(free or [1])
            reply = await self._gated(f"{SEATS}/{self._seat}", None)
            if reply.observed.status != 409:
                return True
            if not free:
                return False
            pause *= 0.5

    async def _gated(self, path: str, body: Mapping[str, object] | None) -> Reply:
        headers = FORGED if self._person.luck % 4 == 1 else None
        reply = await self._client.call(Call.GATED, "POST", path, body=body, headers=headers)
        if reply is None or not reply.observed.passed:
            raise Refused
        return reply

    async def _leave_room(self) -> Reply | None:
        return await self._client.call(Call.LEAVE_SLOT, "DELETE", "/api/v1/queue/allowed-in-token")

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._rng.uniform(0.8, 1.2))

    # --- leaving ---

    async def _leave_line_or_room(self) -> bool:
        """Leave the line, or the room if the person was let in just before. Returns whether either was granted."""
        left = await self._client.call(Call.LEAVE_LINE, "DELETE", "/api/v1/queue/waiting-token")
        if left is None or left.observed.status != 200:
            left = await self._leave_room()
        return left is not None and left.observed.status == 200

    async def _leave_at_close(self) -> Outcome:
        """Leave at the end of the sale. An outcome that was already decided still counts."""
        if not self._lineup_sent:
            return Outcome.NEVER_IN_LINE
        if self._inside:
            await self._leave_room()
            return self._outcome_at_close or Outcome.CUT_SHORT
        if await self._leave_line_or_room():
            return self._outcome_at_close or Outcome.STILL_WAITING
        # Neither in line nor in, although a response said so. The observer decides whether that is allowed.
        return self._outcome_at_close or (
            Outcome.PLACE_GONE if self._lineup_answered else Outcome.NEVER_IN_LINE
        )


class Crowd:
    """All people of a run. ``base``: the gateway's URL. ``observe`` gets every observation."""

    def __init__(
        self, people: Sequence[Person], limits: Limits, base: str, observe: Callable[[Observation], None]
    ) -> None:
        self._people = people
        self._limits = limits
        self._base = base
        self._observe = observe

    async def run(self, sale: Sale) -> None:
        """Make all visits to ``sale``. Returns when the last one has ended."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
            for person in self._people:
                group.create_task(self._visit(person, http, sale))

    async def _visit(self, person: Person, http: aiohttp.ClientSession, sale: Sale) -> None:
        client = Client(person.number, self._base, http, self._observe)
        outcome = await Visit(person, client, self._limits, sale).run()
        self._observe(VisitFinished(person.number, asyncio.get_running_loop().time(), outcome))
