"""Bodies of 1 MiB, both ways: what it costs to pass them on, and how much of an answer the gateway holds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import fleet, servers, tokens
from benchmarks.drive import measure
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, resident
from benchmarks.report import Limit, Row, Table, cpu_ratio, limits_table, rate_table

_USERS = 100
# If the gateway held whole answers, these would take 32 MiB.
_CONNECTIONS = 32
_MOST_MIB = 16.0


_OF_NGINX = 0.5


def run(options: Options) -> list[Table]:
    """Measure answers, then uploads."""
    return [*_answers(options), *_uploads(options)]


def _answers(options: Options) -> list[Table]:
    """All rows in turn, round after round."""
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
    limits = [Limit("memory that the gateway grew by after the first round, MiB", grown, _MOST_MIB)]
    return [table, limits_table("large: answers", [*limits, *_beside_nginx(rows)])]


def _uploads(options: Options) -> list[Table]:
    """POSTs with bodies of 1 MiB that have a length. The users are few: each connection sends the same bytes again."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(4))
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as name,
        servers.python_server("upload", cores.rest) as service,
        fleet.fleet(Path(name), cores, service.port, signed) as up,
    ):
        # Without a token only reading is open.
        members = [member for member in up.members if member.name != fleet.PUBLIC]
        rows = {member.name: Row(member.name) for member in members}
        for number in range(options.rounds + 1):
            for member in members:
                order = Order(
                    member.port,
                    "POST",
                    member.path,
                    connections=_CONNECTIONS,
                    seconds=options.seconds,
                    tokens=member.tokens,
                    body_bytes=1 << 20,
                )
                sample = measure(order, member.watched, cores, own=options.own_load)
                if number:
                    rows[member.name].samples.append(sample)
    missing = [Row(name, skipped=reason) for name, reason in up.skipped.items()]
    title = f"large: POST of 1 MiB, {_CONNECTIONS} connections, {options.rounds} × {options.seconds:g} s"
    table = rate_table(title, [*rows.values(), *missing], fleet.PLAIN)
    return [table, limits_table("large: uploads", _beside_nginx(rows))]


def _beside_nginx(rows: Mapping[str, Row]) -> list[Limit]:
    """How many of nginx's bytes the gateway passes on for the same CPU."""
    nginx = rows.get("nginx")
    ratio = None if nginx is None else cpu_ratio(rows[fleet.EVERYTHING], nginx)
    if ratio is None:
        return []
    return [Limit("bytes for the same CPU, as a part of nginx's", ratio, _OF_NGINX, at_least=True)]
