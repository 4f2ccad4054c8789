"""What a change of the rules costs: the scripts' time in Redis, beside that of an earlier version's scripts.

Keys and arguments are put in the order that the head of each script states, so that both versions can be called.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.gateways import redis_server
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Table
from benchmarks.scale import DURATION_MS, INSIDE, SHORT, Line
from gateway.waiting_room.keys import DEFAULT_ROOM, RoomKeys
from gateway.waiting_room.scripts import load

AT_MOST = 1.15
AT_MOST_WITH_ALL = 1.5
OFF = "history=0"
LANES = ("members", "gold")
ON = "rate=9999999/s lanes=members:3000,gold:2000"
"""Lanes and a rate; history is on unless it is switched off."""
ALL = f"claim=3600000 max_session=86400000 {ON}"
"""Claim windows and an absolute session as well."""
OWN = Path(__file__).parents[1] / "lua_scripts"
_KEYS = RoomKeys("", DEFAULT_ROOM)
_INCLUDE = re.compile(r"^--- @include (\w+)$", re.MULTILINE)
_STATED = re.compile(r"^-- (KEYS|ARGV)\[(\d+)(…?)\] +(\w+)", re.MULTILINE)
_VALUES: dict[str, Any] = {
    "channel": "bench",
    "default_capacity": INSIDE,
    "default_duration": DURATION_MS,
    "relineup": "back",
    "sighting": "1",
    "absent_ms": 3_600_000,
    "scan": 0,
    "follow": "off",
    "follow_ms": 60_000,
}
"""Arguments by the name that a script's head gives them."""


class Version:
    """The scripts of one version."""

    def __init__(self, folder: Path, rules: str = "", lanes: tuple[str, ...] = ()) -> None:
        """``rules``: the settings of the room as text; ignored by scripts that have no such argument. ``lanes``: those
        that they name."""
        self._folder = folder
        self.lanes = lanes
        self._values = {**_VALUES, "default_rules": rules}

    def text(self, name: str) -> str:
        """The script as Redis gets it."""
        if self._folder == OWN:
            return load(name).text
        return _INCLUDE.sub(lambda found: self._read(f"includes/{found[1]}"), self._read(name))

    def call(self, name: str, count: int) -> tuple[list[str], list[Any]]:
        """Keys, and arguments up to the users, of whom there are ``count``."""
        heads = self._read("includes/room") + self._read(name)
        stated = [(kind, int(at), what) for kind, at, users, what in _STATED.findall(heads) if not users]
        keys = [getattr(_KEYS, what) for kind, _, what in sorted(stated) if kind == "KEYS"]
        wanted = " ".join(islice(cycle((*self.lanes, "default")), count)) if self.lanes else ""
        values = {**self._values, "wanted": wanted}
        arguments = [values[what] for kind, _, what in sorted(stated) if kind == "ARGV"]
        return [*keys, *_KEYS.of_lanes(self.lanes)], arguments

    def _read(self, name: str) -> str:
        return (self._folder / f"{name}.lua").read_text(encoding="utf-8")


class VersionLine(Line):
    """A line that is served by one version's scripts.

    With lanes it has a parked user, so that parking costs something."""

    def __init__(self, *args: Any, version: Version) -> None:
        super().__init__(*args)
        self._version = version
        self._hashes: dict[str, str] = {}

    def fill(self) -> None:
        """Puts users in line and allows some in."""
        super().fill()
        if self._version.lanes:
            self.client.zadd(_KEYS.parked, {"parked": time.time() * 1000})
            self.client.zadd(_KEYS.tickets, {"parked": 1})

    def call(self, what: str, count: int) -> None:
        """One call of a script."""
        if what not in self._hashes:
            self._hashes[what] = self.client.script_load(self._version.text(what))
        keys, arguments = self._version.call(what, count)
        people = [] if what == "sweep" else self.people(what, count)
        self.client.evalsha(self._hashes[what], len(keys), *keys, *arguments, *people)


def run(options: Options) -> list[Table]:
    """The earlier version, and this one with every new feature off and on, in turn."""
    if options.against is None:
        raise Unavailable("--against names no folder with an earlier version's lua_scripts")
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(_line(version)) for version in versions(options.against)]
        cells, notes = [], []
        for what, count, calls in (
            ("lineup", 1, 200),
            ("lineup", 256, 5),
            ("status", 1, 200),
            ("status", 256, 5),
            ("gate", 1, 200),
            ("gate", 256, 5),
            ("sweep", 0, 100),
        ):
            rounds = [
                [line.measure(what, count, calls).script for line in lines]
                for _ in range(20 * options.rounds + 1)
            ][1:]
            # Other processes only add time, and to any version: the fastest quarter of the rounds says most.
            costs = [statistics.quantiles(one, n=4)[0] for one in zip(*rounds, strict=True)]
            cells.append([what, count, *with_ratios(costs)])
            if what != "sweep":
                notes += judged(f"{what} of {count}", costs)
        title = f"scripts: µs, {SHORT:,} waiting, every new feature off and on"
        return [Table(title, ("", "users a call", *COLUMNS), cells, notes)]


def versions(earlier: Path) -> list[Version]:
    """The earlier version; this one with every new feature off; with them on; and with claim windows and an absolute
    session as well."""
    return [Version(earlier), Version(OWN, OFF), Version(OWN, ON, LANES), Version(OWN, ALL, LANES)]


COLUMNS = ("earlier", "off", "ratio", "on", "ratio", "and claims", "ratio")


def with_ratios(costs: Sequence[float]) -> list[float]:
    """What a call costs with each of the ``versions``, and beside each later one its ratio to the first."""
    before, *later = costs
    return [round(before, 1), *(cell for cost in later for cell in (round(cost, 1), round(cost / before, 3)))]


def judged(what: str, costs: Sequence[float]) -> list[str]:
    """Whether the goals are met: a line for the features off, and one for them on."""
    before, off, on, _ = costs
    return [
        f"target: {what}, features {which} ≤ {most:g} ×: {ratio:.3f}, {'met' if ratio <= most else 'missed'}"
        for which, ratio, most in (("off", off / before, AT_MOST), ("on", on / before, AT_MOST_WITH_ALL))
    ]


@contextlib.contextmanager
def _line(version: Version) -> Iterator[VersionLine]:
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as folder,
        redis_server(Path(folder), Cores.split().server) as client,
    ):
        line = VersionLine(client, SHORT, version=version)
        line.fill()
        yield line
