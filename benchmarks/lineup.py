"""People who arrive: a lineup with a token never seen before each, beside an empty aiohttp handler."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from benchmarks import gateways, servers, tokens
from benchmarks.drive import measure
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores
from benchmarks.report import Row, Table, Target, rate_table

REFERENCE = "bare aiohttp handler"
OURS = "gateway, lineup"
AGAIN = "gateway, lineup, token known"
# What is signed for each second of a measurement: more than can be lined up in it.
_TOKENS_A_SECOND = 6000
_PATH = "/api/v1/queue/lineup"


def run(options: Options) -> list[Table]:
    """Measure round after round. A row ends with its tokens, so that none is used twice where it must be new."""
    cores = Cores.split()
    count = max(1000, int(_TOKENS_A_SECOND * options.seconds))
    signed = tokens.signed(tokens.users(count * (options.rounds + 1)))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        bare = stack.enter_context(servers.python_server("bare", cores.server))
        gateway = stack.enter_context(gateways.gateway(folder / "gateway", cores, jwks=jwks))
        rows = [Row(REFERENCE), Row(OURS), Row(AGAIN)]
        # The first round warms up and is forgotten.
        for number in range(options.rounds + 1):
            mine = signed[number * count : (number + 1) * count]
            for row, port, watched in (
                (rows[0], bare.port, bare.watched),
                (rows[1], gateway.port, gateway.watched),
                (rows[2], gateway.port, gateway.watched),
            ):
                order = Order(
                    port, "POST", _PATH, options.connections, seconds=120, tokens=mine, count=len(mine)
                )
                sample = measure(order, watched, cores, own=True)
                if number:
                    row.samples.append(sample)
        title = (
            f"lineup: {count:,} people with an RS256 token each, {options.connections} connections, "
            f"one core each, {options.rounds} rounds"
        )
        return [rate_table(title, rows, REFERENCE, Target(OURS, 0.3))]
