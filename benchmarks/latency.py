"""How late answers come at half load: requests that come evenly, whether or not earlier ones are answered."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import fleet, servers, tokens
from benchmarks.arrivals import Arrivals, Came
from benchmarks.drive import measure
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.overload import at_once
from benchmarks.processes import Cores
from benchmarks.report import Table

_USERS = 500
_CONNECTIONS = 256
_TICK_SECONDS = 0.001
_COLUMNS = ("", "calls/s", "p50 ms", "p99 ms", "worst ms", "errors")


def run(options: Options) -> list[Table]:
    """Measure all servers in turn, round after round, at the same rate."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_USERS))
    seconds = max(options.seconds, 3.0)
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as name:
        folder = Path(name)
        with (
            servers.python_server("upstream", cores.rest) as service,
            fleet.fleet(folder, cores, service.port, signed) as up,
        ):
            rate = _half_load(up, options, cores)
            came: dict[str, list[Came]] = {member.name: [] for member in up.members}
            for number in range(options.rounds + 1):
                for member in up.members:
                    order = Arrivals(
                        member.port,
                        "GET",
                        member.path,
                        rate,
                        seconds if number else 1.0,
                        member.tokens,
                        _CONNECTIONS,
                        tick=_TICK_SECONDS,
                    )
                    result = at_once([order], cores)[0]
                    if number:
                        came[member.name].append(result)
    rows = [_row(name, results) for name, results in came.items()]
    notes = [f"{name}: skipped, {reason}" for name, reason in up.skipped.items()]
    notes.append("medians of the rounds; times run from when a call was due, looked at every millisecond")
    title = (
        f"latency: {rate:,.0f} calls a second, half of what {_reference(up).name} takes, on {_CONNECTIONS} "
        f"connections, {options.rounds} × {seconds:g} s"
    )
    return [Table(title, _COLUMNS, rows, notes)]


def _reference(up: fleet.Fleet) -> fleet.Member:
    """Caddy, or the plain proxy where there is none."""
    return up.member(fleet.CADDY) or up.members[0]


def _half_load(up: fleet.Fleet, options: Options, cores: Cores) -> float:
    """Half of the calls a second that the reference takes."""
    member = _reference(up)
    order = Order(member.port, "GET", member.path, seconds=options.seconds, tokens=member.tokens)
    return measure(order, member.watched, cores, own=options.own_load).rate / 2


def _row(name: str, results: list[Came]) -> list[Any]:
    def median(values: list[float]) -> float:
        return round(statistics.median(values) * 1000, 2)

    return [
        name,
        round(statistics.median([each.good / each.seconds for each in results])),
        median([each.p50 for each in results]),
        median([each.p99 for each in results]),
        median([each.worst for each in results]),
        sum(each.errors + each.shed for each in results),
    ]
