"""Whether a long line costs more than a short one: the scripts' time in Redis, and the whole call's."""

from __future__ import annotations

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.gateways import redis_server
from benchmarks.options import Options
from benchmarks.processes import Cores
from benchmarks.report import Table
from gateway.sse.pacing import LONGEST_RUN
from gateway.waiting_room.keys import DEFAULT_ROOM, RoomKeys
from gateway.waiting_room.scripts import load_all

SHORT = 1000
INSIDE = 1000
_AT_MOST = 1.5
ANYWHERE = "status, anywhere"
_INSTANCES = 3
"""Among whom the streams of those who come one after the other are spread."""
_CHUNK = 10_000
DURATION_MS = 7_200_000
_SCRIPTS = load_all()
_KEYS = RoomKeys("", DEFAULT_ROOM)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call, in microseconds: inside the script as Redis counts it, the slowest as it logs it, and the whole
    call as its caller sees it."""

    script: float
    slowest: float
    wall: float


class Line:
    """A full room with ``waiting`` people in line, in a Redis of its own."""

    def __init__(self, client: Redis, waiting: int) -> None:
        self.client = client
        self.waiting = waiting
        self._new = 0
        self._random = random.Random(1)

    def fill(self) -> None:
        """Write the room as the scripts would have left it, in a few large commands each."""
        now = int(time.time() * 1000)
        with self.client.pipeline(transaction=False) as pipe:
            for first in range(1, self.waiting + 1, _CHUNK):
                tickets = range(first, min(first + _CHUNK, self.waiting + 1))
                pipe.zadd(_KEYS.line, {_user(ticket): ticket for ticket in tickets})
                pipe.zadd(_KEYS.absent, {_user(ticket): now for ticket in tickets})
                pipe.execute()
            pipe.set(_KEYS.counter, self.waiting)
            pipe.hset(_KEYS.settings, mapping={"capacity": INSIDE, "duration_ms": DURATION_MS})
            pipe.hset(_KEYS.inside, mapping={f"in-{number}": now // 1000 for number in range(INSIDE)})
            pipe.zadd(_KEYS.activity, {f"in-{number}": now for number in range(INSIDE)})
            pipe.zadd(_KEYS.since, {f"in-{number}": now for number in range(INSIDE)})
            pipe.execute()
        for script in _SCRIPTS.values():
            self.client.script_load(script.text)

    def people(self, what: str, count: int) -> list[str]:
        """Whom a call is about: newcomers, people inside, or people in line: anywhere, or as the hub asks for them, in
        runs of users who came one after the other."""
        if what == "lineup":
            self._new += count
            return [f"new-{number}" for number in range(self._new - count, self._new)]
        if what == "gate":
            return [f"in-{number}" for number in self._random.sample(range(INSIDE), count)]
        if what == ANYWHERE:
            return [_user(ticket) for ticket in self._random.sample(range(1, self.waiting + 1), count)]
        near: list[str] = []
        while len(near) < count:
            run = range(min(LONGEST_RUN, count - len(near)))
            first = self._random.randint(1, self.waiting - _INSTANCES * len(run) + 1)
            near += [_user(first + _INSTANCES * place) for place in run]
        return near

    def call(self, what: str, count: int) -> None:
        """One call of a script, as the gateway makes it."""
        keys: tuple[str, ...] = _KEYS.common
        arguments: list[Any] = ["bench", INSIDE, DURATION_MS, ""]
        if what == "sweep":
            keys = (*keys, _KEYS.watch, _KEYS.lineups, _KEYS.last_lineups, _KEYS.minutes)
            arguments += [0, "off", 60_000]
        else:
            if what == "lineup":
                keys = (*keys, _KEYS.lineups, _KEYS.last_lineups, _KEYS.draw)
            arguments += ["0"] if what.startswith("status") else []
            arguments += self.people(what, count)
        self.client.evalsha(_SCRIPTS[what.partition(",")[0]].sha, len(keys), *keys, *arguments)

    def measure(self, what: str, count: int, calls: int) -> Cost:
        """Microseconds a call, over so many calls. Newcomers are taken out of the line again."""
        # At most 1,024 calls are logged, each with at most the slowest of them to be found.
        self.client.config_set("slowlog-log-slower-than", 0)
        self.client.config_set("slowlog-max-len", 2 * calls)
        self.client.slowlog_reset()
        self.client.config_resetstat()
        before = self._new
        began = time.perf_counter()
        for _ in range(calls):
            self.call(what, count)
        wall = time.perf_counter() - began
        took = self.client.info("commandstats")["cmdstat_evalsha"]["usec"]
        logged = [entry["duration"] for entry in self.client.slowlog_get(2 * calls) if _is_call(entry)]
        self.client.config_set("slowlog-log-slower-than", -1)
        self._forget([f"new-{number}" for number in range(before, self._new)])
        return Cost(took / calls, max(logged), wall / calls * 1e6)

    def _forget(self, people: Sequence[str]) -> None:
        for at in range(0, len(people), _CHUNK):
            self.client.zrem(_KEYS.line, *people[at : at + _CHUNK])
            self.client.zrem(_KEYS.absent, *people[at : at + _CHUNK])


def run(options: Options) -> list[Table]:
    """Both lines side by side, in turn."""
    with _line(SHORT) as short, _line(options.waiting) as long:
        cells = []
        notes = []
        for what, count, calls in (
            ("lineup", 1, 2000),
            ("lineup", 256, 100),
            ("status", 1, 2000),
            ("status", 256, 200),
            (ANYWHERE, 256, 200),
            ("gate", 1, 2000),
            ("gate", 256, 200),
            ("sweep", 0, 1000),
        ):
            cell, note = _compared(what, count, calls, (short, long), options)
            cells.append(cell)
            notes += note
        memory = long.client.info("memory")["used_memory"] / options.waiting
        notes.append(f"{memory:.0f} bytes of Redis a waiting person")
        columns = (
            "",
            "users a call",
            *(f"{name} {size:,}" for name in ("script µs,", "call µs,") for size in (SHORT, options.waiting)),
            "script ratio",
            "call ratio",
            "slowest ms",
        )
        title = f"scale: {options.waiting:,} waiting beside {SHORT:,}, {options.rounds} rounds"
        return [Table(title, columns, cells, notes)]


def _compared(
    what: str, count: int, calls: int, lines: tuple[Line, Line], options: Options
) -> tuple[list[Any], list[str]]:
    costs = [[line.measure(what, count, calls) for line in lines] for _ in range(options.rounds + 1)][1:]
    few, many = ([pair[at] for pair in costs] for at in (0, 1))
    script = statistics.median(b.script / a.script for a, b in zip(few, many, strict=True))
    wall = statistics.median(b.wall / a.wall for a, b in zip(few, many, strict=True))
    cell = [
        what,
        count,
        *(round(statistics.median(one.script for one in side), 1) for side in (few, many)),
        *(round(statistics.median(one.wall for one in side), 1) for side in (few, many)),
        round(script, 2),
        round(wall, 2),
        round(max(one.slowest for one in many) / 1000, 2),
    ]
    verdict = "met" if script <= _AT_MOST else "missed"
    return cell, [f"target: {what} of {count} ≤ {_AT_MOST:g} ×, by script time: {script:.2f}, {verdict}"]


@contextlib.contextmanager
def _line(waiting: int) -> Iterator[Line]:
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as folder,
        redis_server(Path(folder), Cores.split().server) as client,
    ):
        line = Line(client, waiting)
        line.fill()
        yield line


def _user(ticket: int) -> str:
    # Names in no order that has to do with tickets, as they are in life.
    return f"user-{ticket * 2_654_435_761 % 4_294_967_296:08x}"


def _is_call(entry: dict[str, Any]) -> bool:
    return bytes(entry["command"]).startswith(b"EVALSHA")
