"""``/{service}/v3/api-docs``: what a service says of itself, on its way through."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import hdrs, web
from aiohttp.http import RawResponseMessage

from gateway.errors import UpstreamUnreachable
from gateway.proxy.taken import changing
from gateway.routing.table import Match
from gateway.web.context import Context
from gateway.web.exchange import Exchange, Handler
from gateway.web.forwarding import forwarded, plan_for
from gateway.web.locate import Choose
from gateway.web.servers import NotJson, led_here

_DOCUMENT: Final = "/v3/api-docs"

MOST_BYTES: Final = 2 * 1024 * 1024
"""The longest document there may be, decoded: several times what a big service has. Python reads JSON in one go, so
this also bounds how long everything else has to wait."""

MOST_AT_A_TIME: Final = 4
"""Documents of one route that are in memory at the same time, other than those that are kept: anybody may ask for
them. Who comes then waits as long as for an answer."""

_MOST_KEPT_BYTES: Final = 16 * 1024 * 1024

# A document is asked for whole, as it is now, and in no coding.
_LEFT_OUT: Final = frozenset(
    {b"accept-encoding", b"range", b"if-match", b"if-none-match", b"if-modified-since"}
    | {b"if-unmodified-since", b"if-range"}
)


def is_document(method: str, match: Match, path: str) -> bool:
    """Whether a call that a route matched asks for an API description, by the path here or at the service."""
    return (
        method == "GET" and (_DOCUMENT in match.upstream_path or _DOCUMENT in path) and match.answer is None
    )


class Rewritten:
    """Documents led to the gateway. Keeps the last ones, by their contents: reading one costs milliseconds, and anybody
    may ask for it. Bounded in bytes."""

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._bytes = 0
        self._one_at_a_time = asyncio.Lock()

    async def rewrite(self, path: str, body: bytes) -> bytes:
        """The document for clients; ``path`` is where the service has it. Raises UpstreamUnreachable if it is no
        JSON although its head says so: what can't be read may say anything."""
        key = hashlib.sha256(path.encode("utf-8", "backslashreplace") + b"\0" + body).digest()
        known = self._kept.get(key)
        if known is not None:
            return known
        async with self._one_at_a_time:
            # Whoever came at the same time may have done it.
            if key not in self._kept:
                try:
                    document = await asyncio.to_thread(led_here, body, path)
                except NotJson as error:
                    raise UpstreamUnreachable("an API description that is no JSON") from error
                self._keep(key, document)
                return document
            return self._kept[key]

    def _keep(self, key: bytes, document: bytes) -> None:
        self._kept[key] = document
        self._bytes += len(document)
        while self._bytes > _MOST_KEPT_BYTES:
            self._bytes -= len(self._kept.pop(next(iter(self._kept))))


def describing(context: Context, forward: Handler) -> Choose:
    """Chooses who answers what a route matches: API descriptions in JSON come out led to the gateway; for the rest
    ``forward`` answers."""
    rewritten = Rewritten()
    # By route, so that a service that hangs holds up its own documents alone; for as long as somebody needs it.
    turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def describe(request: web.BaseRequest, exchange: Exchange) -> Awaitable[web.StreamResponse]:
        match = exchange.match
        assert match is not None  # noqa: S101 - only matched requests come here
        plan = plan_for(context, request, exchange, match)
        headers = [field for field in plan.headers if field[0].lower() not in _LEFT_OUT]
        plan = plan._replace(headers=[*headers, (b"Accept-Encoding", b"identity")])
        change = partial(rewritten.rewrite, match.upstream_path)
        turn = turns.setdefault(match.route.id, asyncio.Semaphore(MOST_AT_A_TIME))
        return forwarded(context, request, exchange, plan, changing(change, _is_json, MOST_BYTES, turn))

    return lambda method, match, path: describe if is_document(method, match, path) else forward


def _is_json(message: RawResponseMessage) -> bool:
    kind = message.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    return message.code == 200 and (kind == "application/json" or kind.endswith("+json"))
