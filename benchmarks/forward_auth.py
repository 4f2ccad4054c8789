"""Decisions about calls that another proxy describes: what one costs the gateway, and what a proxy pays for asking."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import gateways, servers, tokens
from benchmarks.drive import Case, Watched, measure_in_rounds
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Limit, Row, Table, cpu_ratio, limits_table, rate_table

_ASK = "/api/v1/queue/authorize"
_USERS = 1000
_A_CORE = 12_000.0
PROXIED = "gateway, JWT and gate, forwarded"
GATED = "gateway, authorize: JWT and gate"
WITHOUT_FAST_PATH = f"{GATED}, FAST_PATH=false"


def run(options: Options) -> list[Table]:
    """Measure all rows in turn, round after round."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_USERS))
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as name,
        tokens.jwks() as jwks,
        servers.python_server("upstream", cores.rest) as service,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        cases = [*_of_nginx(stack, options, folder, cores, service.port)]
        for folder_name, fast_path in (("gateway", True), ("reference", False)):
            gateway = stack.enter_context(
                gateways.gateway(
                    folder / folder_name,
                    cores,
                    jwks=jwks,
                    upstream=service.port,
                    allowed_in_max_capacity=_USERS,
                    trusted_proxies="127.0.0.1",
                    identity_hmac_secret="a secret of the benchmark",
                    fast_path=fast_path,
                )
            )
            gateways.admit(gateway, signed, cores)
            cases += _of_gateway(options, gateway, signed, fast_path=fast_path)
        skipped = [each.row for each in cases if each.row.skipped]
        cases = [each for each in cases if not each.row.skipped]
        measure_in_rounds(cases, options, cores)
    rows = [*(case.row for case in cases), *skipped]
    return [rate_table(_title(options), rows, PROXIED), _limits(rows)]


def _of_nginx(
    stack: contextlib.ExitStack, options: Options, folder: Path, cores: Cores, service: int
) -> Iterator[Case]:
    """nginx that answers itself, once without asking and once after asking a location of its own."""
    plain, asking = Row("nginx, a file"), Row("nginx, a file, auth_request to an empty handler")
    try:
        served = stack.enter_context(servers.nginx_asking(cores, folder / "nginx"))
    except Unavailable as reason:
        for row in (plain, asking):
            row.skipped = str(reason)
            yield Case(row, _order(options, service, "/"), Watched(0))
        return
    yield Case(plain, _order(options, served.port, "/plain"), served.watched)
    yield Case(asking, _order(options, served.port, "/asking"), served.watched)


def _of_gateway(
    options: Options, gateway: gateways.Gateway, signed: Sequence[str], *, fast_path: bool
) -> Iterator[Case]:
    def case(name: str, path: str, described: str, users: Sequence[str] = signed) -> Case:
        headers = ("X-Forwarded-Method: GET", f"X-Forwarded-Uri: {described}") if described else ()
        return Case(
            Row(name), _order(options, gateway.port, path, tokens=users, headers=headers), gateway.watched
        )

    if not fast_path:
        yield case(WITHOUT_FAST_PATH, _ASK, gateways.GATED)
        return
    yield case(PROXIED, gateways.GATED, "")
    yield case("gateway, authorize: open call", _ASK, gateways.PUBLIC, ())
    yield case("gateway, authorize: JWT", _ASK, gateways.OWN)
    yield case(GATED, _ASK, gateways.GATED)
    yield case("gateway, authorize/ext: JWT and gate", f"{_ASK}/ext{gateways.GATED}", "")


def _order(
    options: Options, port: int, path: str, *, tokens: Sequence[str] = (), headers: Sequence[str] = ()
) -> Order:
    return Order(
        port,
        "GET",
        path,
        connections=options.connections,
        seconds=options.seconds,
        tokens=tuple(tokens),
        headers=tuple(headers),
    )


def _limits(rows: Sequence[Row]) -> Table:
    named = {row.name: row for row in rows}
    of_a_core = sorted(1e6 / one.cpu_us for one in named[GATED].samples)
    limits = [
        Limit("decisions a core second, JWT and gate", of_a_core[len(of_a_core) // 2], _A_CORE, at_least=True)
    ]
    ratio = cpu_ratio(named[GATED], named[PROXIED])
    if ratio is not None:
        limits.append(Limit("cost of a decision, as a part of the forwarded call's", 1 / ratio, 1.0))
    return limits_table("forward-auth: targets", limits)


def _title(options: Options) -> str:
    return (
        f"forward-auth: {options.connections} connections, one core each, "
        f"{options.rounds} × {options.seconds:g} s"
    )
