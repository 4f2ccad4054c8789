"""Forwarding a small answer: the gateway beside a plain proxy and beside well-known ones, each on one core."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import fleet, forward_variants, gateways, profiling, servers, tokens
from benchmarks.drive import Case, measure, measure_in_rounds, warm_up
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, Process
from benchmarks.report import Row, Table, Target, rate_table

WITHOUT_FAST_PATH = f"{fleet.EVERYTHING}, FAST_PATH=false"
_TARGET = Target(fleet.EVERYTHING, 1.3)
_USERS = 1000


def run(options: Options) -> list[Table]:
    """Measure all rows in turn, round after round."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_USERS))
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as name:
        folder = Path(name)
        profiler = None if options.profile is None else profiling.choose(folder)
        prefix = () if profiler is None else profiler.prefix
        with (
            servers.python_server("upstream", cores.rest) as service,
            fleet.fleet(folder, cores, service.port, signed, prefix=prefix) as up,
        ):
            cases = [_case(options, member) for member in up.members]
            if profiler is not None:
                return [_profiled(options, cores, cases[-1], profiler, up.gateway.process)]
            with gateways.gateway(
                folder / "reference",
                cores,
                jwks=up.jwks,
                upstream=service.port,
                allowed_in_max_capacity=_USERS,
                fast_path=False,
            ) as reference:
                gateways.admit(reference, signed, cores)
                way = fleet.Member(
                    WITHOUT_FAST_PATH, reference.port, reference.watched, gateways.GATED, signed
                )
                cases.append(_case(options, way))
                measure_in_rounds(cases, options, cores)
            rows = [case.row for case in cases]
            rows += [Row(name, skipped=reason) for name, reason in up.skipped.items()]
            table = rate_table(_title(options), rows, fleet.PLAIN, _TARGET)
    return [table, *forward_variants.run(options)]


def _case(options: Options, member: fleet.Member) -> Case:
    order = Order(
        member.port,
        "GET",
        member.path,
        connections=options.connections,
        seconds=options.seconds,
        tokens=tuple(member.tokens),
    )
    return Case(Row(member.name), order, member.watched)


def _profiled(
    options: Options, cores: Cores, case: Case, profiler: profiling.Profiler, gateway: Process
) -> Table:
    """What the gateway does while it forwards with everything on."""
    measure(warm_up(case.order), case.watched, cores, own=options.own_load)
    with profiler.watching(gateway.pid, case.order.seconds, cores):
        sample = measure(case.order, case.watched, cores, own=options.own_load)
    gateway.end()
    text = profiler.summary(sample)
    assert options.profile is not None
    options.profile.write_text(text + "\n", encoding="utf-8")
    return Table(f"profile of {case.row.name}, in {options.profile}", (), (), text.splitlines())


def _title(options: Options) -> str:
    return (
        f"forward: GET, 100-byte answers, {options.connections} connections, one core each, "
        f"{options.rounds} × {options.seconds:g} s"
    )
