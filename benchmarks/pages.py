"""The waiting page: how many a gateway makes on one core, beside the same people's status in JSON."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks import gateways, tokens
from benchmarks.drive import measure
from benchmarks.load import Order
from benchmarks.options import Options
from benchmarks.processes import Cores
from benchmarks.report import Row, Table, rate_table

REFERENCE = "status, JSON"
PAGE = "page"
ZIPPED = "page, gzip"
_WAITING = 500
_STATUS = "/api/v1/queue/status"
_NAVIGATION = ("Accept: text/html", "Accept-Language: en")


def run(options: Options) -> list[Table]:
    """People who wait ask for their status, and their browsers for a gated page, round after round."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(_WAITING))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        routes = gateways.routes_file(folder, 1)
        document = yaml.safe_load(routes.read_text(encoding="utf-8"))
        # A load counts what is no 2xx as failed.
        document["rooms"] = {"default": {"page": {"title": "Winter sale", "status": 200}}}
        routes.write_text(yaml.safe_dump(document), encoding="utf-8")
        gateway = stack.enter_context(
            gateways.gateway(
                folder / "gateway", cores, jwks=jwks, routes_file=routes, allowed_in_max_capacity=0
            )
        )
        gateways.admit(gateway, signed, cores)
        order = Order(
            gateway.port,
            "GET",
            gateways.GATED,
            options.connections,
            options.seconds,
            signed,
            headers=_NAVIGATION,
        )
        cases = [
            (Row(REFERENCE), replace(order, path=_STATUS, headers=())),
            (Row(PAGE), order),
            (Row(ZIPPED), replace(order, headers=(*_NAVIGATION, "Accept-Encoding: gzip"))),
        ]
        # The first round warms up and is forgotten.
        for number in range(options.rounds + 1):
            for row, what in cases:
                sample = measure(what, gateway.watched, cores, own=True)
                if number:
                    row.samples.append(sample)
    title = (
        f"pages: {_WAITING} people in line, {options.connections} connections, one core, "
        f"{options.rounds} × {options.seconds:g} s"
    )
    return [rate_table(title, [row for row, _ in cases], REFERENCE)]
