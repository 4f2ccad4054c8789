"""What a change of the rules costs: the scripts' time in Redis, beside that of an earlier version's scripts.

Keys and arguments are put in the order that the head of each script states, so that both versions can be called.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import tempfile
from collections.abc import Iterator
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
ALL = "claim=3600000 max_session=86400000 rate=9999999/s"
"""Settings under which every feature works at each call; history is on unless it is switched off."""
_OWN = Path(__file__).parents[1] / "lua_scripts"
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

    def __init__(self, folder: Path, rules: str = "") -> None:
        """``rules``: the settings of the room as text; ignored by scripts that have no such argument."""
        self._folder = folder
        self._values = {**_VALUES, "default_rules": rules}

    def text(self, name: str) -> str:
        """The script as Redis gets it."""
        if self._folder == _OWN:
            return load(name).text
        return _INCLUDE.sub(lambda found: self._read(f"includes/{found[1]}"), self._read(name))

    def call(self, name: str) -> tuple[list[str], list[Any]]:
        """Keys, and arguments up to the users."""
        heads = self._read("includes/room") + self._read(name)
        stated = [(kind, int(at), what) for kind, at, users, what in _STATED.findall(heads) if not users]
        keys = [getattr(_KEYS, what) for kind, _, what in sorted(stated) if kind == "KEYS"]
        arguments = [self._values[what] for kind, _, what in sorted(stated) if kind == "ARGV"]
        return keys, arguments

    def _read(self, name: str) -> str:
        return (self._folder / f"{name}.lua").read_text(encoding="utf-8")


class VersionLine(Line):
    """A line that is served by one version's scripts."""

    def __init__(self, *args: Any, version: Version) -> None:
        super().__init__(*args)
        self._version = version
        self._hashes: dict[str, str] = {}

    def call(self, what: str, count: int) -> None:
        """One call of a script."""
        if what not in self._hashes:
            self._hashes[what] = self.client.script_load(self._version.text(what))
        keys, arguments = self._version.call(what)
        people = [] if what == "sweep" else self.people(what, count)
        self.client.evalsha(self._hashes[what], len(keys), *keys, *arguments, *people)


def run(options: Options) -> list[Table]:
    """The earlier version, and this one with every new feature off and on, in turn."""
    if options.against is None:
        raise Unavailable("--against names no folder with an earlier version's lua_scripts")
    with (
        _line(Version(options.against)) as earlier,
        _line(Version(_OWN, OFF)) as off,
        _line(Version(_OWN, ALL)) as on,
    ):
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
                [line.measure(what, count, calls).script for line in (earlier, off, on)]
                for _ in range(20 * options.rounds + 1)
            ][1:]
            # Other processes only add time, and to any version: the fastest quarter of the rounds says most.
            before, without, with_all = (
                statistics.quantiles(one, n=4)[0] for one in zip(*rounds, strict=True)
            )
            cells.append(
                [
                    *(what, count, round(before, 1), round(without, 1), round(without / before, 3)),
                    *(round(with_all, 1), round(with_all / before, 3)),
                ]
            )
            if what != "sweep":
                for which, ratio, most in (
                    ("off", without / before, AT_MOST),
                    ("on", with_all / before, AT_MOST_WITH_ALL),
                ):
                    verdict = "met" if ratio <= most else "missed"
                    notes.append(
                        f"target: {what} of {count}, features {which} ≤ {most:g} ×: {ratio:.3f}, {verdict}"
                    )
        columns = ("", "users a call", "earlier, µs", "off, µs", "ratio", "on, µs", "ratio")
        return [Table(f"scripts: {SHORT:,} waiting, every new feature off and on", columns, cells, notes)]


@contextlib.contextmanager
def _line(version: Version) -> Iterator[VersionLine]:
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as folder,
        redis_server(Path(folder), Cores.split().server) as client,
    ):
        line = VersionLine(client, SHORT, version=version)
        line.fill()
        yield line
