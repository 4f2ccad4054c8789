"""A room driven straight through its scripts: synchronous, with a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import redis

from gateway.waiting_room.history import parse_history
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.state import Summary, parse_summary

CLOCK_KEY = "test:now"
CLOCK = f"local now = tonumber(redis.call('GET', '{CLOCK_KEY}'))"
SCRIPTS = load_all({"clock": CLOCK})

NONE, WAITING, ALLOWED_IN, ADMITTED, FULL, ROOM_FULL, TOO_MANY_LINEUPS, NOT_ELIGIBLE = range(8)
REGISTERED, CLOSED, UNPREPARED, SOLD_OUT = range(8, 12)
NOTHING, SLOT, PLACE = range(3)

START = 1_700_000_000_000
"""A whole second, so that hash and index begin alike."""

Event = tuple[str, str, int]


class Reply(NamedTuple):
    """What a script answered."""

    summary: Summary
    answers: list[Any]


def connect(url: str) -> redis.Redis:
    """A client that carries any bytes as text, in both directions."""
    return redis.Redis.from_url(url, protocol=2, decode_responses=True, encoding_errors="surrogateescape")


class Record(NamedTuple):
    """The record of an opening; see ``includes/room.lua``."""

    phase: str
    value: int
    base: int
    size: int
    placed: int
    gone: int


class Rig:
    """One room on an empty Redis. Times and durations in milliseconds; sequences come as Redis has them."""

    def __init__(
        self,
        client: redis.Redis,
        capacity: int = 2,
        duration: int = 10_000,
        scripts: Any = SCRIPTS,
        room: str = "default",
    ) -> None:
        self.follow: tuple[str, int] = ("off", 60_000)
        self.client = client
        self.keys = RoomKeys("", room)
        self.capacity = capacity
        self.duration = duration
        self.rules = ""
        self.lanes: tuple[str, ...] = ()
        """Those of which calls name the keys."""
        self.wanted: dict[str, str] = {}
        """The lanes that users get with a new ticket; ``default`` unless given."""
        self.rate = "off"
        """An operator's; not in ``rules``, so that no instance is configured with it."""
        self.author: tuple[str, str] = ("anna", "it is a test")
        """The operator who makes changes, and the reason."""
        self.scripts = scripts
        self.channel = "test:events"
        self.now = START
        self.set_clock(START)
        self._listener = client.pubsub()
        self._listener.subscribe(self.channel)
        self._listener.parse_response()

    def close(self) -> None:
        self._listener.close()

    def set_clock(self, now: int) -> None:
        self.now = now
        # Also works while Redis is at maxmemory.
        self.client.eval("redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1])", 1, CLOCK_KEY, now)

    def set_memory_full(self, full: bool) -> None:
        """Puts Redis at maxmemory, or takes the limit away again."""
        self.client.config_set("maxmemory", 1 if full else 0)

    def advance(self, by: int) -> None:
        self.set_clock(self.now + by)

    def run(self, name: str, *args: Any, keys: Iterable[str] = ()) -> Reply:
        if name in {"leave", "limits", "doors", "front"}:
            keys = (self.keys.audit, *keys)
            by_user = name == "leave" and args[:1] == ("LEFT",)
            author = ("", "") if by_user else self.author
            args = (args[0], *author, *args[1:]) if name == "leave" else (*args[:5], *author, *args[5:])
            args = (*args, "") if name == "limits" and len(args) == 7 else args
        if name in {"lineup", "arrive"}:
            keys = (self.keys.lineups, self.keys.last_lineups, self.keys.draw, *keys)
            users = args[::3] if len(keys) > 3 else args
            wanted = [self.wanted.get(user, "default") for user in users] if self.lanes else []
            args = (" ".join(wanted), *(("1" * 256,) if name == "arrive" else ()), *args)
        if name == "move":
            keys = (self.keys.draw, *keys)
        if name == "sweep":
            keys = (*keys, self.keys.lineups, self.keys.last_lineups, self.keys.minutes)
        return self.raw_room(name, keys, *args)

    def raw_room(self, name: str, keys: Iterable[str], *args: Any) -> Reply:
        """A script of the room with exactly these further keys and arguments."""
        all_keys = (*self.keys.common, *keys, *self.keys.of_lanes(self.lanes))
        arguments = (self.channel, self.capacity, self.duration, self.rules, *args)
        summary, *answers = self.raw(name, *all_keys, *arguments, key_count=len(all_keys))
        return Reply(parse_summary(summary), answers)

    def raw(self, name: str, *args: Any, key_count: int) -> Any:
        script = self.scripts[name]
        raw = [arg.encode("utf-8", "surrogateescape") if isinstance(arg, str) else arg for arg in args]
        try:
            return self.client.evalsha(script.sha, key_count, *raw)
        except redis.exceptions.NoScriptError:
            return self.client.eval(script.text, key_count, *raw)

    def lineup(self, *users: str, relineup: str = "back") -> list[Any]:
        """``relineup``: changes that setting before."""
        if relineup != dict(part.split("=") for part in self.rules.split()).get("relineup", "back"):
            self.set_rules(relineup=relineup)
        return self.run("lineup", *users).answers

    def lineup_by(self, *entries: tuple[str, str, int, int]) -> list[Any]:
        """Lines up users who are not eligible, each with an invitation: (user, its id, its uses, its end)."""
        parts = [part for user, _, uses, end in entries for part in (user, uses, end)]
        keys = [self.keys.invitation(number) for _, number, _, _ in entries]
        return self.run("lineup", *parts, keys=keys).answers

    def status(self, *users: str, sighting: bool = True) -> list[Any]:
        return self.run("status", int(sighting), *users).answers

    def gate(self, *users: str) -> list[Any]:
        return self.run("gate", *users).answers

    def arrive(self, *users: str) -> list[Any]:
        """The gate, which lines up users without a place."""
        return self.run("arrive", *users).answers

    def arrive_by(self, *entries: tuple[str, str, int | str, int | str]) -> list[Any]:
        """The same where not all are eligible: (user, the invitation, its uses, its end); uses '': is eligible."""
        parts = [part for user, _, uses, end in entries for part in (user, uses, end)]
        keys = [self.keys.invitation(number) for _, number, _, _ in entries]
        return self.run("arrive", *parts, keys=keys).answers

    def front(self, user: str) -> str:
        """An operator puts the user in front of all others; the ticket as text, empty without a place."""
        return self.run("front", user).answers[0]

    def leave(self, *pairs: tuple[str, str], reason: str = "LEFT") -> list[int]:
        return self.run("leave", reason, *(part for pair in pairs for part in pair)).answers

    def set_rules(self, **values: int | str) -> None:
        """Puts settings in force, besides those there are, as an operator does; times in milliseconds."""
        found = dict(part.split("=") for part in self.rules.split())
        found.update({name: str(value) for name, value in values.items()})
        self.rules = " ".join(f"{name}={value}" for name, value in sorted(found.items()))
        in_force = self.rules if self.rate == "off" else f"{self.rules} rate={self.rate}".strip()
        # Also works while Redis is at maxmemory.
        script = """
            redis.call('HDEL', KEYS[1], '')
            redis.call('HSET', KEYS[1], 'rules', ARGV[1], 'declared_rules', ARGV[2])
        """
        self.client.eval(script, 1, self.keys.settings, in_force, self.rules)

    def declare_lanes(self, shares: dict[str, int]) -> None:
        """Instances are configured with these lanes from now on; shares in parts of 10,000."""
        self.lanes = tuple(dict.fromkeys((*self.lanes, *shares)))
        found = dict(part.split("=") for part in self.rules.split())
        found["lanes"] = ",".join(f"{name}:{share}" for name, share in shares.items())
        self.rules = " ".join(f"{name}={value}" for name, value in sorted(found.items()) if value)

    def set_rate(self, rate: str) -> Summary:
        """An operator sets the rate, as ``120/m`` or ``off``."""
        self.rate = rate
        return self.limits(rules=f"rate={rate}")

    def sweep(self, absent: int | None = None, scan: int = 500, hold: int | None = None) -> Summary:
        given = {"absent": absent, "hold": hold}
        if wanted := {name: value for name, value in given.items() if value is not None}:
            self.set_rules(**wanted)
        return self.run("sweep", scan, *self.follow, keys=[self.keys.watch]).summary

    def limits(
        self,
        capacity: Any = "",
        duration: Any = "",
        paused: bool | None = None,
        lift: bool = False,
        rules: str = "",
        stock: int | str = "",
    ) -> Summary:
        pause = "" if paused is None else int(paused)
        return self.run("limits", capacity, duration, pause, int(lift), rules, stock).summary

    def doors(self, act: str, until: int | str = "") -> Summary:
        return self.run("doors", act, until).summary

    def gather(self, order: str = "arrival", beacon: str = "", salt_key: str = "5a" * 32) -> Summary:
        """An instance begins the pre-queue."""
        secret = "00" * 32
        keys = (self.keys.draw, self.keys.drawn)
        return self.run("gather", order, secret, "c0" * 32, salt_key, beacon, keys=keys).summary

    def rank(self, root: str = "", digest: str = "arrival", value: int | None = None) -> bool:
        """An instance has computed the draw; whether that counted."""
        opening = self.opening()
        value = opening.value if value is None else value
        return bool(self.run("rank", value, root, digest, keys=[self.keys.draw]).answers[0])

    def place(
        self,
        first: int,
        *users: str,
        digest: str = "arrival",
        value: int | None = None,
        entries: Sequence[bytes] = (),
    ) -> int:
        """An instance puts these users in line, after the ``first`` ones; how many are placed then."""
        value = self.opening().value if value is None else value
        pairs = [part for user, entry in zip_longest(users, entries, fillvalue=b"") for part in (user, entry)]
        keys = (self.keys.draw, self.keys.drawn, self.keys.watch)
        return int(self.run("open", value, digest, first, 60, *pairs, keys=keys).answers[0])

    def beacon(self, value: str) -> int:
        """An operator enters the beacon's value."""
        reply = self.raw_room("beacon", (self.keys.draw, self.keys.audit), value, *self.author)
        return int(reply.answers[0])

    def opening(self) -> Record:
        """The record of the opening."""
        phase, *numbers = (self.client.hget(self.keys.settings, "opening") or " 0 0 0 0 0").split(" ")
        return Record(phase, *map(int, numbers))

    def registered(self) -> list[str]:
        return self.client.zrange(self.keys.registered, 0, -1)

    def configure(self, capacity: int, duration: int, starting: bool = True) -> Reply:
        self.capacity, self.duration = capacity, duration
        return self.run("configure", *self.follow, int(starting), "", keys=[self.keys.watch])

    def presence(self, instance: str, *pairs: tuple[str, str]) -> Summary:
        parts = (part for pair in pairs for part in pair)
        keys = [self.keys.here(instance), self.keys.several(instance)]
        return self.run("presence", *parts, keys=keys).summary

    def beat(
        self, instance: str, dead: int = 10_000, report: str = "", errors: Sequence[tuple[int, int]] = ()
    ) -> tuple[bool, list[str]]:
        keys = (self.keys.instances, self.keys.about(instance), self.keys.pace)
        pairs = [part for pair in errors for part in pair]
        unknown, *names = self.raw("beat", *keys, instance, dead, report, *pairs, key_count=3)
        return bool(unknown), names

    def drain(self, instance: str, dead: int = 10_000) -> bool:
        """Whether there are users left."""
        keys = [self.keys.instances, self.keys.here(instance), self.keys.several(instance)]
        return self.run("drain", instance, dead, keys=keys).answers == [1]

    def line(self) -> list[tuple[str, float]]:
        return self.client.zrange(self.keys.line, 0, -1, withscores=True)

    def waiting(self) -> list[str]:
        return [user for user, _ in self.line()]

    def inside(self) -> dict[str, str]:
        return self.client.hgetall(self.keys.inside)

    def activity(self) -> dict[str, float]:
        return dict(self.client.zrange(self.keys.activity, 0, -1, withscores=True))

    def absent(self) -> dict[str, float]:
        return dict(self.client.zrange(self.keys.absent, 0, -1, withscores=True))

    def parked(self) -> dict[str, tuple[int, float]]:
        """User -> ticket, and when the user was parked."""
        found = dict(self.client.zrange(self.keys.tickets, 0, -1, withscores=True))
        since = dict(self.client.zrange(self.keys.parked, 0, -1, withscores=True))
        return {user: (int(found[user]), at) for user, at in since.items()}

    def streams(self) -> dict[str, int]:
        return {user: int(count) for user, count in self.client.hgetall(self.keys.streams).items()}

    def tally(self) -> dict[str, int]:
        return {name: int(count) for name, count in self.client.hgetall(self.keys.tally).items()}

    def history(self, user: str) -> list[tuple[int, str, str | None, int | None]]:
        """When, what, why and with which ticket, the oldest first."""
        return [tuple(entry) for entry in parse_history(self.client.hget(self.keys.history, user) or "")]

    def events(self) -> list[Event]:
        """What was published since the last time, in order."""
        happened: list[Event] = []
        self._listener.execute_command("PING", "that is all")
        while True:
            message = self._listener.parse_response()
            if message[0] == "pong":
                return happened
            body = json.loads(message[2])
            happened += [(body["event"], user, int(ticket)) for user, ticket in body["people"]]

    def everything(self) -> dict[str, bytes | None]:
        """All keys as Redis would save them, to see whether anything was written."""
        return {key: self.client.dump(key) for key in self.client.scan_iter(count=1000)}


def fill(rig: Rig, key: str, pairs: Sequence[tuple[str, Any]], kind: str) -> None:
    """Many users at once, written past the scripts."""
    for at in range(0, len(pairs), 1000):
        page = dict(pairs[at : at + 1000])
        if kind == "hash":
            rig.client.hset(key, mapping=page)
        else:
            rig.client.zadd(key, page)
