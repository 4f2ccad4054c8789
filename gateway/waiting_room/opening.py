"""The opening of a room with a pre-queue: a gateway begins the pre-queue, computes the order, and puts the registered
users in line. The scripts ``gather``, ``rank`` and ``open`` make every step repeatable, so that any instance may do any
step, and several may do the same one."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeVar

from redis.exceptions import ResponseError

from gateway.draw import ranking
from gateway.draw.formulas import SECRET_BYTES, commitment_of, entry_of, salt_of, seed_of
from gateway.draw.slices import Steps, run_in_slices
from gateway.errors import QueueUnavailable
from gateway.waiting_room.batch import MAX_BATCH
from gateway.waiting_room.draw_record import Call, DrawRecord, read_record
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.rules import Prequeue
from gateway.waiting_room.state import Moved, Phase, State, StateKind, parse_states, parse_summary

Entry = TypeVar("Entry")

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 30 * 24 * 3600
"""How long what is published of a draw stays in Redis after the opening."""
PAGE: Final = 2000
"""Users that are read from Redis in one call."""
MAX_BEACON: Final = 1000
"""The longest value of a beacon, in characters."""

QUIET_SECONDS: Final = 5.0
"""An opening that fails is warned of after so long."""

_SALT_KEY: Final = 6
"""Its place in the answer to a lineup."""
_STEP: Final = 128
_ARRIVAL: Final = "arrival"
"""The digest of the order without a draw."""
_OTHER_OPENING: Final = -1


class BeaconAnswer(IntEnum):
    """What became of a beacon's value; ``beacon.lua`` has the same codes."""

    NO_DRAW = 0
    ACCEPTED = 1
    TOO_EARLY = 2
    KNOWN = 3


class _Order(NamedTuple):
    """The users by rank, and their entries, if there is a draw; a digest of that, empty while the beacon's value is
    missing; and the root, empty without a draw.

    These are two lists and not one of pairs. Python's garbage collector would look at each pair, and so hold the event
    loop for tens of milliseconds."""

    users: list[bytes]
    entries: list[bytes]
    digest: str
    root: str = ""

    def step(self, placed: int) -> list[bytes]:
        """Users and entries in turn, of those who come after the first ``placed`` and fit into one step."""
        users = self.users[placed : placed + MAX_BATCH]
        entries = self.entries[placed : placed + MAX_BATCH] or [b""] * len(users)
        return [part for pair in zip(users, entries, strict=True) for part in pair]


class Opener:
    """Does for one room what its scripts can't. Every method raises QueueUnavailable.

    ``command`` sends one command to Redis; ``prequeue`` returns what this instance is configured with, None if the room
    has no pre-queue in its configuration.
    """

    def __init__(
        self,
        keys: RoomKeys,
        call: Call,
        command: Callable[..., Awaitable[Any]],
        prequeue: Callable[[], Prequeue | None],
    ) -> None:
        self._keys = keys
        self._call = call
        self._command = command
        self._prequeue = prequeue
        self.wanted = asyncio.Event()
        """Set when there is work."""
        self._failing_since: float | None = None
        self._warned = False

    async def keep(self) -> None:
        """Works whenever that is wanted, until it is cancelled. If it fails, the next sweep finds that there is work,
        here or at another instance."""
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            try:
                await self.work()
            except QueueUnavailable as error:
                self._note_failure(error.reason)
            except Exception:
                log.exception("room %s: the opening did not go on", self._keys.room)
            else:
                self._failing_since, self._warned = None, False

    def _note_failure(self, reason: str) -> None:
        """Warns once if the opening has failed for long."""
        now = asyncio.get_running_loop().time()
        self._failing_since = now if self._failing_since is None else self._failing_since
        log.debug("room %s: the opening did not go on: %s", self._keys.room, reason)
        if now - self._failing_since >= QUIET_SECONDS and not self._warned:
            self._warned = True
            log.warning(
                "room %s: the opening has not gone on for %.0f s. Registered users have no place until it does; it is "
                "tried again each second. The last reason: %s",
                self._keys.room,
                now - self._failing_since,
                reason,
            )

    async def begin(self) -> bool:
        """Begins the pre-queue, unless another instance has begun it or it is too early. Returns whether this instance
        may: one without this pre-queue in its configuration does not know whether there is to be a draw."""
        given = self._prequeue()
        if given is None:
            return False
        secret = secrets.token_bytes(SECRET_BYTES)
        await self._call(
            "gather",
            given.order,
            secret.hex(),
            commitment_of(secret).hex(),
            secrets.token_hex(SECRET_BYTES),
            given.beacon,
            extra_keys=(self._keys.draw, self._keys.drawn),
        )
        return True

    async def lined_up(
        self, entries: Sequence[Entry], line_up: Callable[[Sequence[Entry]], Awaitable[list[State]]]
    ) -> list[State]:
        """What ``line_up`` answers for ``entries``. If it finds that the pre-queue has not begun, begins it first. The
        answers are UNPREPARED for users who have to ask again, because another instance has to begin it."""
        states = await line_up(entries)
        early = [at for at, state in enumerate(states) if state.kind is StateKind.UNPREPARED]
        if early and await self.begin():
            again = await line_up([entries[at] for at in early])
            for at, state in zip(early, again, strict=True):
                states[at] = state
        return states

    async def record(self) -> DrawRecord:
        """What Redis holds."""
        return await read_record(self._call, self._keys)

    async def enter_beacon(self, value: str, by: str, reason: str) -> BeaconAnswer:
        """An operator enters the beacon's value."""
        keys = (self._keys.draw, self._keys.audit)
        reply = await self._call("beacon", value, by, reason, extra_keys=keys)
        return BeaconAnswer(reply[1])

    async def work(self) -> None:
        """Begins the pre-queue if it is time, or goes on with the opening until the room is open or the beacon's value
        is missing."""
        record = await self.record()
        if record.phase in {Phase.NONE, Phase.OPEN}:
            await self.begin()
            return
        if record.phase in {Phase.GATHERING, Phase.AWAITING}:
            return
        users = await self._users(record.size)
        if len(users) < record.size and await self._is_over(record):
            return
        ordered = await self._order(record, self._with_lost(users, record.size))
        if record.phase is Phase.CLOSED:
            # The root is published at once. A user who notes it before the beacon's value is known can tell later that
            # no entry was changed.
            await self._call(
                "rank", record.opens_at, ordered.root, ordered.digest, extra_keys=(self._keys.draw,)
            )
        if ordered.digest:
            await self._place(record, ordered)

    async def _place(self, record: DrawRecord, ordered: _Order) -> None:
        keys = (self._keys.draw, self._keys.drawn, self._keys.watch)
        placed = record.placed
        while True:
            step = ordered.step(placed)
            reply = await self._call(
                "open", record.opens_at, ordered.digest, placed, KEPT_SECONDS, *step, extra_keys=keys
            )
            placed = reply[1]
            if placed == _OTHER_OPENING or placed >= record.size:
                return

    async def _order(self, record: DrawRecord, users: list[bytes]) -> _Order:
        """The order in which users are placed. Every instance computes the same."""
        if not record.drawn:
            return _Order(users, [], _ARRIVAL)
        by_entry = await run_in_slices(_entries(self._keys.room, users, bytes.fromhex(record.salt_key)))
        root = (await run_in_slices(ranking.close(by_entry))).root
        if record.beacon_name and not record.beacon:
            return _Order([], [], "", root.hex())
        seed = seed_of(bytes.fromhex(record.secret), root, record.beacon)
        ranks = await run_in_slices(ranking.rank(seed, by_entry))
        return await run_in_slices(_in_order(ranks, by_entry, root.hex()))

    async def _users(self, size: int) -> list[bytes]:
        """Everyone who took part, by registration."""
        users: list[bytes] = []
        for first in range(0, size, PAGE):
            users += await self._send("ZRANGE", self._keys.registered, first, min(first + PAGE, size) - 1)
        return users

    async def _is_over(self, record: DrawRecord) -> bool:
        """Whether another gateway has finished this opening meanwhile. Then its users are registered no longer."""
        now = await self.record()
        over = now.phase in {Phase.NONE, Phase.GATHERING, Phase.OPEN}
        return over or (now.opens_at, now.commitment) != (record.opens_at, record.commitment)

    def _with_lost(self, users: list[bytes], size: int) -> list[bytes]:
        """The users, with names for those whom Redis has lost: the room opens all the same, for those whom it has."""
        if len(users) < size:
            log.error("room %s: Redis has lost %d registered users", self._keys.room, size - len(users))
        return users + [b"\0lost %d" % each for each in range(len(users), size)]

    async def _send(self, *command: Argument) -> Any:
        try:
            return await self._command(*command)
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error


def salt_for(salt_key: str, user: str) -> bytes:
    """The salt of a user in the pre-queue with this key, which is in hex."""
    return salt_of(bytes.fromhex(salt_key), user)


def with_salts(states: list[State], answers: Sequence[Sequence[Any]], users: Sequence[str]) -> list[State]:
    """The states of ``users``, with the salts of those whom ``answers`` of a lineup say to be registered for a draw."""
    return [
        state._replace(salt=salt_for(answer[_SALT_KEY].decode(), user))
        if state.registered and len(answer) > _SALT_KEY and answer[_SALT_KEY]
        else state
        for state, answer, user in zip(states, answers, users, strict=True)
    ]


def parse_move(room: str, reply: Sequence[Any], taker: str) -> tuple[bool, State]:
    """Whether something was moved to ``taker``, and where that user stands now. Raises QueueUnavailable if the room is
    opening, and its users can't change now."""
    if reply[1] == Moved.LATER:
        raise QueueUnavailable("the room is opening: a registration can be moved after that")
    states = parse_states(room, parse_summary(reply[0]), reply[2:])
    return reply[1] == Moved.MOVED, with_salts(states, reply[2:], [taker])[0]


def _entries(room: str, users: Sequence[bytes], salt_key: bytes) -> Steps[dict[bytes, bytes]]:
    """The users by their entries."""
    found = {}
    for count, user in enumerate(users, 1):
        name = user.decode("utf-8", "replace")
        found[entry_of(room, name, salt_of(salt_key, name))] = user
        if count % _STEP == 0:
            yield
    return found


def _in_order(ranks: ranking.Ranks, by_entry: Mapping[bytes, bytes], root: str) -> Steps[_Order]:
    """The users of a draw, that of rank 1 first."""
    users: list[bytes] = []
    entries: list[bytes] = []
    digest = sha256()
    for count, entry in enumerate(ranks, 1):
        users.append(by_entry[entry])
        entries.append(entry)
        digest.update(entry)
        if count % _STEP == 0:
            yield
    return _Order(users, entries, digest.hexdigest(), root)
