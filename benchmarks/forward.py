"""Forwarding a small answer: the gateway beside a plain proxy and beside well-known ones, each on one core."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gateways, profiling, servers, tokens
from benchmarks.drive import Watched, measure
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, Process, Unavailable
from benchmarks.report import Row, Table, Target, rate_table

REFERENCE = "plain ClientSession loop"
EVERYTHING = "gateway, JWT and gate"
WITHOUT_FAST_PATH = f"{EVERYTHING}, FAST_PATH=false"
_TARGET = Target(EVERYTHING, 1.3)
_USERS = 1000
_WARM_UP_SECONDS = 1.0
_FOREIGN = {"nginx": servers.nginx, "Caddy": servers.caddy, "Envoy": servers.envoy}


@dataclass(frozen=True, slots=True)
class _Case:
    """A row and how it is measured."""

    row: Row
    order: Order
    watched: Watched


def run(options: Options) -> list[Table]:
    """Measure all rows in turn, round after round."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_USERS))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        upstream = stack.enter_context(servers.python_server("upstream", cores.rest)).port
        profiler = None if options.profile is None else profiling.choose(folder)
        start = functools.partial(
            gateways.gateway,
            cores=cores,
            jwks=jwks,
            upstream=upstream,
            allowed_in_max_capacity=_USERS,
            prefix=() if profiler is None else profiler.prefix,
        )
        gateway = stack.enter_context(start(folder / "gateway"))
        gateways.admit(gateway, signed, cores)
        ours = [
            _case(options, "gateway, public GET", gateway.port, gateway.watched, gateways.PUBLIC, ()),
            _case(options, "gateway, JWT", gateway.port, gateway.watched, gateways.OWN, signed),
            _case(options, EVERYTHING, gateway.port, gateway.watched, gateways.GATED, signed),
        ]
        if profiler is not None:
            return [_profiled(options, cores, ours[-1], profiler, gateway.process)]
        plain = stack.enter_context(servers.python_server("plain", cores.server, upstream))
        cases = [_case(options, REFERENCE, plain.port, plain.watched, gateways.OWN, signed)]
        skipped = []
        for name, serve in _FOREIGN.items():
            try:
                served = stack.enter_context(serve(upstream, cores, folder / name))
            except Unavailable as reason:
                skipped.append(Row(name, skipped=str(reason)))
            else:
                cases.append(_case(options, name, served.port, served.watched, gateways.OWN, signed))
        reference = stack.enter_context(start(folder / "reference", fast_path=False))
        gateways.admit(reference, signed, cores)
        cases += ours
        cases.append(
            _case(options, WITHOUT_FAST_PATH, reference.port, reference.watched, gateways.GATED, signed)
        )
        _measure(cases, options, cores)
        rows = [*(case.row for case in cases), *skipped]
        return [rate_table(_title(options), rows, REFERENCE, _TARGET)]


def _case(
    options: Options, name: str, port: int, watched: Watched, path: str, signed: list[str] | tuple[()]
) -> _Case:
    order = Order(
        port, "GET", path, connections=options.connections, seconds=options.seconds, tokens=tuple(signed)
    )
    return _Case(Row(name), order, watched)


def _measure(cases: list[_Case], options: Options, cores: Cores) -> None:
    """One row after the other, all of them once a round, so that each round sees the same machine."""
    for number in range(options.rounds + 1):
        for case in cases:
            order = case.order if number else _warm_up(case.order)
            sample = measure(order, case.watched, cores, own=options.own_load)
            if number:
                case.row.samples.append(sample)


def _profiled(
    options: Options, cores: Cores, case: _Case, profiler: profiling.Profiler, gateway: Process
) -> Table:
    """What the gateway does while it forwards with everything on."""
    measure(_warm_up(case.order), case.watched, cores, own=options.own_load)
    with profiler.watching(gateway.pid, case.order.seconds, cores):
        sample = measure(case.order, case.watched, cores, own=options.own_load)
    gateway.end()
    text = profiler.summary(sample)
    assert options.profile is not None
    options.profile.write_text(text + "\n", encoding="utf-8")
    return Table(f"profile of {case.row.name}, in {options.profile}", (), (), text.splitlines())


def _warm_up(order: Order) -> Order:
    return dataclasses.replace(order, seconds=_WARM_UP_SECONDS)


def _title(options: Options) -> str:
    return (
        f"forward: GET, 100-byte answers, {options.connections} connections, one core each, "
        f"{options.rounds} × {options.seconds:g} s"
    )
