"""The draw of a pre-queue: what users and operators see of it, and the beacon's value that operators enter.

What is published, and when, is in ``docs/reference/draw.md``: the commitment and the beacon's name from the beginning,
the root and the number of entries from the close, and everything from the opening on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any, Final, NamedTuple

from aiohttp import web

from gateway.api.body import read_body
from gateway.api.endpoints import Endpoint
from gateway.api.envelope import encode, envelope, success
from gateway.api.queue import QUEUE, caller, room_name, signed_receipt
from gateway.api.rooms import MAX_BYTES, is_reason, requested_room
from gateway.background import end_task
from gateway.context import CONTEXT, OPERATOR, ROOMS, SIGNING_KEYS, UPLOADS
from gateway.draw import ranking
from gateway.draw.formulas import HASH_BYTES, entry_of, seed_of
from gateway.draw.merkle import Proof
from gateway.draw.published import Beacon, published_object, with_receipt
from gateway.draw.ranking import ClosedEntries, Ranks
from gateway.draw.slices import run_in_slices
from gateway.errors import BadRequest, BeaconKnown, BeaconTooEarly, FieldError, NoDraw, QueueUnavailable
from gateway.settings.model import Settings
from gateway.waiting_room.draw_record import DrawRecord
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.opening import MAX_BEACON, PAGE, BeaconAnswer, salt_for
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import Phase

_MAX_LOADED: Final = 4
"""Draws whose entries an instance keeps in memory, of the rooms asked for last."""
_REST: Final = 3.0
"""Where there are more draws than that, the next one is computed after so many times as long as this one took. So users
who ask for one after the other take a quarter of the time of the event loop, however many draws there are."""


class _Loaded(NamedTuple):
    """What is computed once from all entries of a draw."""

    closed: ClosedEntries
    ranks: Ranks


class _Own(NamedTuple):
    """A user's part in a draw."""

    rank: int
    proof: Proof


class Draws:
    """The draws that users ask for, with ranks and proofs."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._loading: dict[str, asyncio.Task[_Loaded]] = {}
        self._turn = asyncio.Lock()
        self._rest_until = 0.0

    async def own(self, room: Room, record: DrawRecord, entry: bytes) -> _Own | None:
        """The part of ``entry`` in the draw of ``record``; None if it took no part. Raises QueueUnavailable."""
        loaded = await self._load(room, record)
        try:
            return _Own(loaded.ranks.rank_of(entry), loaded.closed.proof(entry))
        except ValueError:
            return None

    async def close(self) -> None:
        """Computes nothing more."""
        for task in tuple(self._loading.values()):
            with contextlib.suppress(QueueUnavailable):
                await end_task(task)

    async def _load(self, room: Room, record: DrawRecord) -> _Loaded:
        name = f"{room.name} {record.commitment}"
        loaded = self._loaded.get(name)
        if loaded is not None:
            self._loaded.move_to_end(name)
            return loaded
        task = self._loading.get(name)
        if task is None:
            task = asyncio.create_task(self._compute(name, room, record), name=f"draw of {room.name}")
            self._loading[name] = task
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        # A large draw takes seconds. A proxy gives up before, and the next call must not begin anew.
        return await asyncio.shield(task)

    async def _compute(self, name: str, room: Room, record: DrawRecord) -> _Loaded:
        # One draw after the other.
        async with self._turn:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._rest_until - loop.time())
            began = loop.time()
            loaded = await _computed(room, record)
            while len(self._loaded) >= _MAX_LOADED:
                self._loaded.popitem(last=False)
                self._rest_until = loop.time() + _REST * (loop.time() - began)
            self._loaded[name] = loaded
        return loaded


DRAWS: Final[web.AppKey[Draws]] = web.AppKey("draws", Draws)


async def _computed(room: Room, record: DrawRecord) -> _Loaded:
    entries = [entry async for page in _pages(room, record) for entry in page]
    closed = await run_in_slices(ranking.close(entries))
    seed = seed_of(bytes.fromhex(record.secret), closed.root, record.beacon)
    return _Loaded(closed, await run_in_slices(ranking.rank(seed, entries)))


async def _pages(room: Room, record: DrawRecord) -> AsyncIterator[list[bytes]]:
    """The published entries, that of rank 1 first. Raises QueueUnavailable, also if Redis no longer has them all."""
    for first in range(0, record.size, PAGE):
        count = min(PAGE, record.size - first)
        page = await room.draws.entries(first, count)
        if len(page) != HASH_BYTES * count:
            raise QueueUnavailable("Redis no longer has all entries of the draw")
        yield [page[start : start + HASH_BYTES] for start in range(0, len(page), HASH_BYTES)]


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The users' endpoint."""
    return (Endpoint("GET", f"{QUEUE}/draw", draw, label="queue.draw", of_room=True, sheddable=True),)


def operator_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The operators' endpoints."""
    room = "/actuator/rooms/{room}"
    return (
        Endpoint("GET", f"{room}/draw", published, auth="management", label="actuator.rooms"),
        Endpoint("POST", f"{room}/beacon", enter_beacon, auth="management", label="actuator.rooms"),
    )


async def draw(request: web.Request) -> web.StreamResponse:
    """What is published of the draw, and after the opening the caller's own receipt, rank and proof."""
    context = request[CONTEXT]
    room = await request.app[ROOMS].find(room_name(context))
    if isinstance(room, UnmadeRoom):
        raise NoDraw
    record = _drawn(await room.draws.recent())
    data = _shown(room.name, record)
    if record.phase is Phase.OPEN:
        user = caller(context)
        salt = salt_for(record.salt_key, user)
        own = await request.app[DRAWS].own(room, record, entry_of(room.name, user, salt))
        if own is not None:
            receipt = signed_receipt(request.app[SIGNING_KEYS], room.name, user, salt)
            data = with_receipt(data, receipt, own.rank, own.proof)
    return success(context, "draw.shown", data=data)


async def published(request: web.Request) -> web.StreamResponse:
    """The published file with all entries; before the opening what is published by then."""
    room = await requested_room(request)
    record = _drawn(await room.draws.record())
    data = _shown(room.name, record)
    if record.phase is not Phase.OPEN:
        return success(request[CONTEXT], "draw.shown", data=data)
    # Written by hand: encoding 100,000 entries at once would stop the event loop.
    head = envelope(request[CONTEXT], "draw.shown")
    parts = [encode(head)[:-1], b',"data":', encode(data)[:-1], b',"entries":[']
    between = b""
    async for page in _pages(room, record):
        parts += [between, b",".join(b'"%b"' % entry.hex().encode() for entry in page)]
        between = b","
    parts.append(b"]}}")
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=BytesIO(b"".join(parts)), headers=headers)


async def enter_beacon(request: web.Request) -> web.StreamResponse:
    """Enters the value that the draw waits for."""
    room = await requested_room(request)
    body = await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    value, reason = parse_beacon(body)
    answer = await room.opener.enter_beacon(value, request[OPERATOR].name, reason)
    if answer is BeaconAnswer.NO_DRAW:
        raise NoDraw
    if answer is BeaconAnswer.TOO_EARLY:
        raise BeaconTooEarly
    if answer is BeaconAnswer.KNOWN:
        raise BeaconKnown
    return success(request[CONTEXT], "room.beacon")


def parse_beacon(body: bytes) -> tuple[str, str]:
    """Reads ``{"value", "reason"}``; the reason may be missing. Raises BadRequest."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    value, reason = given.get("value"), given.get("reason", "")
    faults = [
        FieldError(name[:64], "", "unknown; allowed are value, reason")
        for name in given
        if name not in {"value", "reason"}
    ]
    if not isinstance(value, str) or not is_reason(value, MAX_BEACON) or not value:
        faults.append(
            FieldError(
                "value", "", f"needed is a text of 1 to {MAX_BEACON} characters, no control characters"
            )
        )
    if not is_reason(reason):
        faults.append(FieldError("reason", "", "allowed is a text without control characters"))
    if faults:
        raise BadRequest("the beacon's value can't be taken", tuple(faults))
    return str(value), str(reason)


def _drawn(record: DrawRecord) -> DrawRecord:
    """The record of a draw. Raises NoDraw if it is of none."""
    if not record.drawn:
        raise NoDraw
    return record


def _shown(room: str, record: DrawRecord) -> dict[str, Any]:
    """What everyone may know by now."""
    beacon = Beacon(record.beacon_name, record.beacon) if record.beacon_name else None
    if record.phase is Phase.OPEN:
        commitment, root, secret = map(bytes.fromhex, (record.commitment, record.root, record.secret))
        return published_object(room, commitment, root, secret, beacon)
    data: dict[str, Any] = {
        "room": room,
        "commitment": record.commitment,
        "beacon": {"name": beacon.name} if beacon else None,
    }
    if beacon and record.beacon:
        data["beacon"]["value"] = record.beacon
    if record.root:
        data |= {"root": record.root, "size": record.size}
    return data
