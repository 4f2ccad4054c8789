"""Twice as many newcomers as the gateway can take, and what those who are in notice of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import gateways, servers, tokens
from benchmarks.arrivals import Arrivals, Came
from benchmarks.drive import by_ourselves
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Table

BUYERS = 200
CALLS_A_SECOND = 300
CONNECTIONS = 16_000
LINEUP = "/api/v1/queue/lineup"
# Lineups, one after the answer of another on each of some connections, that tell what the gateway can take.
_TRIAL = 3000
_TIMES_TOO_MANY = 2.0
_CASES = {200: "shedding from 200 ms", 50: "shedding from 50 ms", 0: "no shedding"}
"""By OVERLOAD_LAG_MS, the first being what is shipped."""
_COLUMNS = (
    "",
    "calls/s",
    "p50 ms",
    "p99 ms",
    "worst ms",
    "errors",
    "came/s",
    "lined up/s",
    "OVERLOADED/s",
    "other refusals/s",
    "no connection free/s",
)


def run(options: Options) -> list[Table]:
    """Measure those who are in: alone, and beside the crowd, with and without shedding."""
    cores = Cores.split()
    rows: list[list[Any]] = []
    seconds = max(options.seconds, 4.0)
    can = _can_take(cores)
    rate = _TIMES_TOO_MANY * can
    buyers = tokens.signed(tokens.users(BUYERS, "buyer"))
    crowd = tokens.signed(tokens.users(int(rate * seconds) + 1, "crowd"))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        upstream = stack.enter_context(servers.python_server("upstream", cores.rest))
        for lag_ms, name in _CASES.items():
            with gateways.gateway(
                folder / str(lag_ms),
                cores,
                jwks=jwks,
                upstream=upstream.port,
                allowed_in_max_capacity=BUYERS,
                overload_lag_ms=lag_ms,
            ) as gateway:
                gateways.admit(gateway, buyers, cores, connections=1)
                calls = Arrivals(gateway.port, "GET", gateways.GATED, CALLS_A_SECOND, seconds, buyers, BUYERS)
                if not rows:
                    rows.append(["alone", *_buyers(at_once([calls], cores)[0]), *[None] * 5])
                newcomers = Arrivals(
                    gateway.port, "POST", LINEUP, rate, seconds, crowd, CONNECTIONS, yields=10
                )
                bought, came = at_once([calls, newcomers], cores)
                rows.append([f"beside the crowd, {name}", *_buyers(bought), *_newcomers(came)])
    title = (
        f"overload: {CALLS_A_SECOND} gated calls a second of {BUYERS} who are in, for {seconds:g} s, beside "
        f"{_TIMES_TOO_MANY:g} × the {can:,.0f} newcomers a second that the gateway can take"
    )
    notes = [
        "times run from when a call was due; service, Redis and load share the other core, the crowd coming last",
        "other refusals: lineups that waited for Redis for longer than its time-out",
        f"the crowd has {CONNECTIONS:,} connections: while all are busy, whoever comes finds none",
    ]
    return [Table(title, _COLUMNS, rows, notes)]


def _can_take(cores: Cores) -> float:
    """Lineups a second of a gateway that does nothing else. Raises Unavailable if any is refused."""
    signed = tokens.signed(tokens.users(2 * _TRIAL, "trial"))
    rate = 0.0
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as folder,
        tokens.jwks() as jwks,
        gateways.gateway(Path(folder), cores, jwks=jwks) as gateway,
    ):
        # The first half only warms up.
        for part in (signed[:_TRIAL], signed[_TRIAL:]):
            order = Order(gateway.port, "POST", LINEUP, seconds=120, tokens=part, count=len(part))
            result = by_ourselves(order, cores)
            if result.failed:
                raise Unavailable(f"{result.failed} of {len(part)} lineups were refused")
            rate = result.answers / result.seconds
    return rate


def at_once(orders: list[Arrivals], cores: Cores) -> list[Came]:
    """All orders at the same time, each in a process of its own; they begin once all have their connections."""
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_started(order, cores)) for order in orders]
        for process in running:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise Unavailable("the load did not get its connections")
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [_result(process, order) for process, order in zip(running, orders, strict=True)]


@contextlib.contextmanager
def _started(order: Arrivals, cores: Cores) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.arrivals"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores.rest),  # noqa: PLW1509 - no lock of ours is needed
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(order)) + "\n")
        process.stdin.flush()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _result(process: subprocess.Popen[str], order: Arrivals) -> Came:
    said, _ = process.communicate(timeout=order.seconds + 60)
    if process.returncode:
        raise Unavailable(f"the load ended with {process.returncode}")
    return Came(**json.loads(said))


def _buyers(came: Came) -> list[Any]:
    return [
        round(came.good / came.seconds),
        *(round(value * 1000, 1) for value in (came.p50, came.p99, came.worst)),
        came.errors + came.shed,
    ]


def _newcomers(came: Came) -> list[Any]:
    return [
        *(
            round(count / came.seconds)
            for count in (
                came.sent + came.unsent,
                came.good,
                came.shed,
                came.errors - came.unsent,
                came.unsent,
            )
        ),
    ]
