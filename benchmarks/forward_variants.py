"""What routes and their filters add to a forwarded call: gateways that differ in one thing, beside each other."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from benchmarks import gateways, servers, tokens
from benchmarks.drive import Case, measure, measure_in_rounds, warm_up
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Limit, Row, Table, cpu_ratio, limits_table, rate_table

_USERS = 100
_FEW, _MANY = 10, 200
_TEN = "10 routes with regexes"
_TWO_HUNDRED = "200 routes with regexes"
_ALIKE = "200 routes that begin alike, with regexes"
_FILTERS = "10 routes, Retry and a rate limit"
_RETRY = "10 routes, Retry"
_TLS = "10 routes, TLS to the client"
_JSON = "10 routes, 10 KB of JSON"
_NGINX_JSON = "nginx, 10 KB of JSON"
_LIMITS = {_TWO_HUNDRED: 1.1, _FILTERS: 1.15}


def run(options: Options) -> list[Table]:
    """Measure all rows in turn, round after round. The call has a token and a query, so each is matched anew; it is for
    the last of the routes."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_USERS))
    skipped: list[Row] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        small, json = (
            stack.enter_context(servers.python_server(kind, cores.rest)) for kind in ("upstream", "json")
        )
        cases: list[Case] = []

        def add(
            name: str, service: int, count: int, *filters: object, tls: bool = False, alike: bool = False
        ) -> None:
            own = folder / f"gateway-{len(cases)}"
            own.mkdir()
            settings: dict[str, object] = {"routes_file": _routes(own, service, count, filters, alike=alike)}
            if tls:
                settings |= _certificate(own)
            gateway = stack.enter_context(gateways.gateway(own, cores, jwks=jwks, **settings))
            path = _path(count - 1, "7", alike=alike)
            order = _order(options, gateway.port, f"{path}/x?a=b", signed, tls=tls)
            cases.append(Case(Row(name), order, gateway.watched))

        add(_TEN, small.port, _FEW)
        add(_TWO_HUNDRED, small.port, _MANY)
        add(_ALIKE, small.port, _MANY, alike=True)
        limit = {"replenishRate": 1_000_000, "burstCapacity": 2_000_000, "key": "user"}
        retry = {"name": "Retry", "args": {"retries": 2}}
        add(_RETRY, small.port, _FEW, retry)
        add(_FILTERS, small.port, _FEW, retry, {"name": "RequestRateLimiter", "args": limit})
        add(_JSON, json.port, _FEW)
        try:
            nginx = stack.enter_context(servers.nginx(json.port, cores, folder / "nginx"))
            order = _order(options, nginx.port, "/part-9/7/x?a=b", signed)
            cases.append(Case(Row(_NGINX_JSON), order, nginx.watched))
        except Unavailable as reason:
            skipped.append(Row(_NGINX_JSON, skipped=str(reason)))
        try:
            add(_TLS, small.port, _FEW, tls=True)
            measure(warm_up(cases[-1].order), cases[-1].watched, cores, own=options.own_load)
        except Unavailable as reason:
            cases = [case for case in cases if case.row.name != _TLS]
            skipped.append(Row(_TLS, skipped=str(reason)))
        measure_in_rounds(cases, options, cores)
    rows = [case.row for case in cases]
    how = f"{options.connections} connections, {options.rounds} × {options.seconds:g} s"
    title = f"forward: routes and filters, JWT, {how}"
    return [rate_table(title, [*rows, *skipped], _TEN), _limits(rows)]


def _path(number: int, text: str, *, alike: bool) -> str:
    """The path of a route. ``alike``: what tells the routes apart comes behind a variable, so no index finds them."""
    return f"/shop/{text}/part-{number}" if alike else f"/part-{number}/{text}"


def _routes(folder: Path, service: int, count: int, filters: tuple[object, ...], *, alike: bool) -> Path:
    """So many routes with a regex each, in front of the service at this port."""
    routes = {
        "services": {"shop": [f"http://127.0.0.1:{service}"]},
        "routes": [
            {
                "id": f"part-{number}",
                "uri": "lb://shop",
                "predicates": [f"Path={_path(number, '{id:[0-9]+}', alike=alike)}/**"],
                "filters": list(filters),
            }
            for number in range(count)
        ],
    }
    file = folder / "own-routes.yaml"
    file.write_text(yaml.safe_dump(routes, sort_keys=False))
    return file


def _certificate(folder: Path) -> dict[str, object]:
    """The settings for TLS. Raises Unavailable."""
    program = shutil.which("openssl")
    if program is None:
        raise Unavailable("openssl is not installed")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise Unavailable(f"openssl failed: {done.stderr[-200:]!r}")
    return {"server_ssl_certificate": certificate, "server_ssl_certificate_private_key": key}


def _order(options: Options, port: int, path: str, signed: list[str], *, tls: bool = False) -> Order:
    return Order(
        port,
        "GET",
        path,
        connections=options.connections,
        seconds=options.seconds,
        tokens=tuple(signed),
        tls=tls,
    )


def _limits(rows: list[Row]) -> Table:
    named = {row.name: row for row in rows}
    limits = []
    for name, most in _LIMITS.items():
        ratio = cpu_ratio(named[name], named[_TEN])
        if ratio is not None:
            limits.append(Limit(f"CPU of {name}, as a multiple of {_TEN}", 1 / ratio, most))
    return limits_table("forward: routes and filters, targets", limits)
