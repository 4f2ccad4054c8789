"""Compares both gateways in a process of its own, on another event loop or with another parser of aiohttp:

``AIOHTTP_NO_EXTENSIONS=1 python -m tests.fast_path.elsewhere uvloop redis://127.0.0.1:6379``
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path

import uvloop
from aiohttp import connector, http, http_parser

from tests.fast_path.rig import Case, Pair, one, paired
from tests.fast_path.routes import ROUTES
from tests.fast_path.test_answers import SCRIPTS, TARGET
from tests.fast_path.test_bodies import forms
from tests.fast_path.test_calls import FAST, NOT_FAST, served_fast
from tests.fast_path.test_identity import identities
from tests.fast_path.test_requests import TABLES
from tests.fast_path.test_streams import cases as stream_cases
from tests.support.certificates import tls_contexts
from tests.support.gateway import Gateways

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def compare(pair: Pair) -> None:
    """The corpora of the other modules, as far as they take seconds and not minutes."""
    for _, case in FAST.values():
        await pair.compare(case)
    await pair.compare_all(NOT_FAST)
    await compare_answers(pair)
    for call in ("POST /open/a", "GET /private/a", "GET /nothing"):
        await pair.compare_all(forms(call))
    for header in identities(pair).values():
        await pair.compare(one("POST /api/v1/reservations", header))
    for table in TABLES.values():
        await pair.compare_all(
            {name: Case(case.sent, answers=len(case.statuses), end=case.end) for name, case in table.items()}
        )
    await pair.compare_all(stream_cases(pair, "streaming"))
    await in_random_pipelines(pair)


async def compare_answers(pair: Pair) -> None:
    """Answers of services, whole and in parts."""
    for method in ("GET", "POST"):
        for script in SCRIPTS.values():
            await pair.compare(one(f"{method} {TARGET}"), script)


async def in_random_pipelines(pair: Pair) -> None:
    """Plain calls, calls that are not plain, and calls without an answer of a service, one behind the other in one
    connection, cut anywhere."""
    drawn = random.Random(7)
    single = [case for _, case in FAST.values()] + [
        NOT_FAST[name] for name in ("chunks", "OPTIONS", "an escape", "an answer of a route", "a page")
    ]
    for _ in range(150):
        parts = [drawn.choice(single).sent[0] for _ in range(drawn.randrange(2, 6))]
        whole = b"".join(parts)
        methods = tuple(part.split(b" ", 1)[0] for part in parts)
        if drawn.random() < 0.5:
            sent = tuple(parts)
        else:
            cut = drawn.randrange(1, len(whole))
            sent = whole[:cut], whole[cut:]
        await pair.compare(Case(sent, answers=len(parts), methods=methods))


async def main(redis_url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Gateways(Path(folder), redis_url) as gateways, paired(gateways, ROUTES) as pair:
            await compare(pair)
            parser = "C" if http.HttpRequestParser is not http_parser.HttpRequestParserPy else "Python"
            loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
            print(loop, parser, pair.compared, served_fast(pair).total())
        server, connector._SSL_CONTEXT_VERIFIED = tls_contexts(Path(folder))
        async with Gateways(Path(folder), redis_url) as gateways, paired(gateways, ROUTES, server) as pair:
            await compare_answers(pair)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main(sys.argv[2]))
