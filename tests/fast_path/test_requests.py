"""Requests that two servers could read differently, and every spelling of a path: both gateways do the same."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from gateway.fast_path.executor import _PLAIN_REQUEST_LINE
from tests.fast_path.rig import Case, Pair, one
from tests.hostile import calls, heads, requests
from tests.hostile.lenient.spellings import spellings
from tests.hostile.pipelines import Maker

pytestmark = pytest.mark.asyncio(loop_scope="package")

TABLES = {
    "coding": requests.TRANSFER_CODINGS,
    "length": requests.LENGTHS,
    "chunks": requests.CHUNKS,
    "line": heads.LINES,
    "host": heads.HOSTS,
    "target": heads.TARGETS,
    "header": heads.HEADERS,
    "too much": heads.SIZES,
    "pipeline": heads.PIPELINES,
}


def chosen(method: str, path: str) -> list[str]:
    """The spellings of a path that the fast path may serve, and some of the others."""
    found = spellings((path,))
    offered = [
        target
        for target in found
        if _PLAIN_REQUEST_LINE.fullmatch(f"{method} {target} HTTP/1.1\r\n".encode())
    ]
    assert offered
    return [*offered, *found[::15]]


@pytest.mark.parametrize("table", TABLES)
async def test_hostile_requests(usual: Pair, table: str) -> None:
    await usual.compare_all(
        {
            name: Case(case.sent, answers=len(case.statuses), end=case.end)
            for name, case in TABLES[table].items()
        }
    )


def is_answered_early(one: Any) -> bool:
    """Whether the gateway may answer before it has read the request's body. How much of the body has arrived by then
    decides whether the connection stays open, with the fast path and without. ``tests/hostile/test_pipelines.py`` holds
    that such an answer says so."""
    head = one.raw.lstrip(b"\r\n").partition(b"\r\n\r\n")[0].lower()
    has_body = b"\r\ncontent-length:" in head or b"\r\ntransfer-encoding:" in head
    unread = one.kind in ("gated", "unknown") or one.kind.startswith("own")
    return one.kind.startswith("early") or one.kind == "own stream" or (has_body and unread)


@pytest.mark.parametrize("seed", range(3))
async def test_random_pipelines(usual: Pair, seed: int) -> None:
    maker = Maker(random.Random(seed), usual.gateways.issuer.token("somebody"))
    cases = {}
    for number in range(120):
        plan = maker.plan()
        if any(is_answered_early(one) for one in plan.requests):
            continue
        stream = b"".join(each.raw for each in plan.requests)
        stops = [0, *(at for at, _ in plan.cuts), len(stream)]
        cases[f"{seed}/{number}"] = Case(
            tuple(stream[begin:end] for begin, end in pairwise(stops)),
            answers=len(plan.requests),
            methods=tuple(each.raw.lstrip(b"\r\n").split(b" ", 1)[0] for each in plan.requests),
        )
    await usual.compare_all(cases)


@pytest.mark.parametrize("token", [True, False], ids=["with a token", "without"])
async def test_spellings_of_gated_calls(usual: Pair, token: bool) -> None:
    who = usual.bearer("nobody") if token else b""
    await usual.compare_all([one(call, who) for call in calls.ROUND_THE_GATE[:: 1 if token else 3]])


@pytest.mark.parametrize("header", calls.OTHER_CALLS)
async def test_headers_that_name_another_call(usual: Pair, header: bytes) -> None:
    who = usual.bearer("nobody")
    await usual.compare_all(
        [
            one("GET /open/a", header),
            one("POST /open/a", who, header),
            one("GET /api/v1/reservations", who, header),
        ]
    )


@pytest.mark.parametrize("path", ["/open/a", "/api/v1/reservations", "/tickets/7/gated"])
async def test_spellings_of_forwarded_paths(usual: Pair, path: str) -> None:
    who = usual.bearer("nobody")
    method = "POST" if path.startswith("/api") else "GET"
    await usual.compare_all([one(f"{method} {target}", who) for target in chosen(method, path)])


# The page of the metrics is different each time.
@pytest.mark.parametrize("own", [path for path in calls.OWN if path != "metrics"])
async def test_spellings_of_own_paths(usual: Pair, own: str) -> None:
    forms = [form.format(own, own.upper(), f"{ord(own[0]):x}{own[1:]}") for form in calls.SPELLINGS]
    await usual.compare_all([one(f"GET {form}") for form in forms])


async def test_spellings_of_own_calls(usual: Pair) -> None:
    who = usual.bearer("nobody")
    for method, call in (("GET", "status"), ("POST", "lineup")):
        targets = chosen(method, f"/api/v1/queue/{call}")
        await usual.compare_all([one(f"{method} {target}?room=nowhere", who) for target in targets])
