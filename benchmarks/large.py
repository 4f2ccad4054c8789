"""An answer of 1 MiB: what it costs to pass it on, and how much of it the gateway holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import fleet, servers, tokens
from benchmarks.drive import measure
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, resident
from benchmarks.report import Limit, Row, Table, limits_table, rate_table

_USERS = 100
# If the gateway held whole answers, these would take 32 MiB.
_CONNECTIONS = 32
_MOST_MIB = 16.0


def run(options: Options) -> list[Table]:
    """Measure all rows in turn, round after round."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_USERS))
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as name:
        folder = Path(name)
        with (
            servers.python_server("large", cores.rest) as service,
            fleet.fleet(folder, cores, service.port, signed) as up,
        ):
            rows = {member.name: Row(member.name) for member in up.members}
            before = grown = 0.0
            for number in range(options.rounds + 1):
                for member in up.members:
                    order = Order(
                        member.port,
                        "GET",
                        member.path,
                        connections=_CONNECTIONS,
                        seconds=options.seconds,
                        tokens=member.tokens,
                    )
                    sample = measure(order, member.watched, cores, own=options.own_load)
                    if number:
                        rows[member.name].samples.append(sample)
                    if member.name == fleet.EVERYTHING:
                        now = resident(member.watched.pid) / (1 << 20)
                        before, grown = (before or now), now - (before or now)
    missing = [Row(name, skipped=reason) for name, reason in up.skipped.items()]
    title = (
        f"large: GET, answers of 1 MiB, {_CONNECTIONS} connections, {options.rounds} × {options.seconds:g} s"
    )
    table = rate_table(title, [*rows.values(), *missing], fleet.PLAIN)
    limit = Limit("memory that the gateway grew by after the first round, MiB", grown, _MOST_MIB)
    return [table, limits_table("large: memory", [limit])]
