"""aiohttp's router dispatches, and the resolver decides: they never mean different handlers without a refusal."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError

from gateway.api.forwarding import forward
from gateway.app import create_app
from gateway.context import CONTEXT, Configuration, LiveTable, RequestContext
from gateway.errors import GatewayError
from gateway.middleware.resolve import RESOLVER, resolve
from gateway.observability.tracing import TraceContext
from gateway.proxy.forwarded import TrustedProxies
from gateway.routing.spec.loader import parse
from gateway.settings.model import Settings
from tests.hostile.calls import OTHER_CALLS, OWN, ROUND_THE_GATE
from tests.hostile.calls import SPELLINGS as OWN_SPELLINGS
from tests.hostile.lenient.spellings import CALLS, spellings

ROUTES = b"""
routes:
  - {id: everything, uri: "http://127.0.0.1:1", predicates: ["Path=/**"]}
gates: [{calls: [POST /api/v1/reservations]}]
"""
OWN_CALLS = (
    "/api/v1/queue/status",
    "/actuator/health/redis",
    "/actuator/gateway/routes/everything",
    "/metrics",
    "/swagger-ui/index.html",
)
METHODS = ("GET", "PURGE")


def targets() -> list[str]:
    """Every spelling of the hostile corpus, of services' calls and of the gateway's own."""
    found = [*spellings(CALLS), *spellings(OWN_CALLS)]
    found += [call.partition(" ")[2] for call in (*ROUND_THE_GATE, *OTHER_CALLS) if isinstance(call, str)]
    found += [
        spelling.format(own, own.upper(), f"{ord(own[0]):02x}{own[1:]}")
        for own in OWN
        for spelling in OWN_SPELLINGS
    ]
    return list(dict.fromkeys(found))


@pytest.fixture
async def app() -> web.Application:
    return create_app(Settings.from_env({"ROUTES_FILE": "routes.yaml"}), {})


UNUSED: Any = Mock(transport=None)
"""Stands for a request's protocol, writer and task. One for all: to make a Mock takes longer than to resolve a call."""


def requests_of(target: str, loop: asyncio.AbstractEventLoop) -> list[web.Request]:
    """What aiohttp's parser makes of a request for ``target`` in each method; nothing where it refuses."""
    made = []
    for method in METHODS:
        parser = HttpRequestParser(UNUSED, loop, 2**16, max_line_size=8190, max_field_size=8190)
        try:
            messages, _, _ = parser.feed_data(f"{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        except HttpProcessingError:
            continue
        for message, payload in messages:
            made.append(web.Request(message, payload, UNUSED, UNUSED, UNUSED, loop))
    return made


async def test_the_handler_that_runs_is_the_one_that_was_decided_about(app: web.Application) -> None:
    """Over all spellings: either both routers mean one handler, or the call is refused before any handler."""
    loop = asyncio.get_running_loop()
    configuration = Configuration(
        Settings.from_env({}), LiveTable(parse(ROUTES, "routes.yaml", {})), TrustedProxies(()), frozenset()
    )
    same = different = 0
    for target in targets():
        for request in requests_of(target, loop):
            dispatched = (await app.router.resolve(request)).handler
            context = RequestContext(TraceContext("t" * 32, "s" * 16, None, False), "en", "127.0.0.1")
            try:
                app[RESOLVER].resolve(configuration, request, context)
            except GatewayError:
                continue
            if context.refusal is not None:
                continue
            assert context.handler is not None
            if dispatched == context.handler:
                same += 1
                if context.handler == forward:
                    assert context.match is not None
                continue
            different += 1
    assert same > 1000
    # Such spellings are few, and each is refused: see below.
    assert different < same / 10


@pytest.mark.parametrize("refusal", [False, True])
async def test_a_path_with_two_meanings_is_refused(refusal: bool) -> None:
    async def other(_request: web.Request) -> web.StreamResponse:
        raise AssertionError("it must not run")

    async def never(_request: web.Request) -> web.StreamResponse:
        raise AssertionError("the next middleware refuses before any handler")

    context = RequestContext(TraceContext("t" * 32, "s" * 16, None, False), "en", "127.0.0.1")
    passed: list[RequestContext] = []

    async def next_one(request: web.Request) -> web.StreamResponse:
        passed.append(request[CONTEXT])
        return web.Response()

    class Decides:
        def resolve(self, _configuration: object, _request: object, found: RequestContext) -> None:
            found.handler = never
            if refusal:
                found.refusal = GatewayError()

    request: Any = MagicMock(app=_Keys({RESOLVER: Decides()}), match_info=Mock(handler=other))
    request.__getitem__.return_value = context
    await resolve(request, next_one)
    assert passed[0].refusal is not None
    assert passed[0].auth == ("token" if refusal else "nothing")


class _Keys(dict[Any, Any]):
    def __missing__(self, key: object) -> None:
        return None
