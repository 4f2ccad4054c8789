"""``/{service}/v3/api-docs``: what a service says of itself, on its way through."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Generator, Hashable
from functools import partial
from io import BytesIO
from typing import Final, Literal, NamedTuple
from weakref import WeakValueDictionary

from aiohttp import hdrs, web
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDict

from gateway.auth.identity import SIGNATURE
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.response import TakenResponse
from gateway.proxy.taken import changing
from gateway.routing.table import Match
from gateway.web.context import Context
from gateway.web.exchange import Exchange, Handler
from gateway.web.forwarding import forwarded, plan_for
from gateway.web.locate import Choose
from gateway.web.servers import NotJson, leading

_DOCUMENT: Final = "/v3/api-docs"

MOST_BYTES: Final = 2 * 1024 * 1024
"""The longest document there may be, decoded: several times what a big service has."""

SLICE_SECONDS: Final = 0.002
"""How long reading a document may hold the loop at a time."""

MOST_AT_A_TIME: Final = 4
"""Documents of one route that are in memory at the same time, other than those that are kept: anybody may ask for
them. Who comes then waits as long as for an answer."""

MOST_ALTOGETHER: Final = 8
"""The same for all routes together."""

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


_OF_ONE_CALL: Final = frozenset(
    {b"traceparent", b"tracestate", b"x-forwarded-for", b"forwarded", b"x-real-ip", b"user-agent"}
    | {SIGNATURE.lower()}
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
        key = await asyncio.to_thread(_digest, path, body)
        known = self._kept.get(key)
        if known is not None:
            return known
        async with self._one_at_a_time:
            # Whoever came at the same time may have done it.
            if key not in self._kept:
                try:
                    document = await _in_slices(leading(body, path))
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


def _digest(path: str, body: bytes) -> bytes:
    digest = hashlib.sha256(path.encode("utf-8", "backslashreplace"))
    digest.update(b"\0")
    digest.update(body)
    return digest.digest()


async def _in_slices(steps: Generator[None, None, bytes]) -> bytes:
    """What ``steps`` returns. Holds the loop for ``SLICE_SECONDS`` at a time, and for a quarter of the time at most."""
    while True:
        over = time.perf_counter() + SLICE_SECONDS
        try:
            while time.perf_counter() < over:
                next(steps)
        except StopIteration as done:
            return bytes(done.value)
        await asyncio.sleep(3 * SLICE_SECONDS)


class _Document(NamedTuple):
    """A document that was asked for, for others who asked for the same meanwhile."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


_Outcome = _Document | GatewayError | Literal["other", "gone"]
"""The document, or why there is none: an error, another kind of answer, or the client whose call it was has gone."""


class Shared:
    """Calls for documents that are under way. A caller that asks for the same document waits for that call."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Future[_Outcome]] = {}

    async def answer(
        self, key: Hashable, ask: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The answer to ``ask``, or to that of another caller with the same ``key``. Raises what ``ask`` raises."""
        while (call := self._calls.get(key)) is not None:
            outcome = await asyncio.shield(call)
            if isinstance(outcome, _Document):
                return TakenResponse(
                    body=BytesIO(outcome.body), status=outcome.status, headers=outcome.headers.copy()
                )
            if isinstance(outcome, GatewayError):
                raise outcome.with_traceback(None)
            if outcome == "other":
                return await ask()
        return await self._lead(key, ask)

    async def _lead(
        self, key: Hashable, ask: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        call = self._calls[key] = asyncio.get_running_loop().create_future()
        outcome: _Outcome = "gone"
        try:
            answer = await ask()
            outcome = _shared(answer)
        except GatewayError as error:
            outcome = error
            raise
        finally:
            del self._calls[key]
            call.set_result(outcome)
        return answer


def _shared(answer: web.StreamResponse) -> _Outcome:
    if not isinstance(answer, TakenResponse):
        return "other"
    headers = answer.headers.copy()
    # What is for one client alone.
    headers.popall(hdrs.SET_COOKIE, None)
    return _Document(answer.status, headers, answer.whole)


def _key(plan: ForwardPlan) -> Hashable:
    """Equal for calls that get the same document. Who the caller is counts; where from and in which trace does not."""
    headers = tuple(field for field in plan.headers if field[0].lower() not in _OF_ONE_CALL)
    return plan.route_id, plan.base, plan.target, headers


def describing(context: Context, forward: Handler) -> Choose:
    """Chooses who answers what a route matches: API descriptions in JSON come out led to the gateway; for the rest
    ``forward`` answers."""
    rewritten = Rewritten()
    shared = Shared()
    # By route, so that a service that hangs holds up its own documents alone; for as long as somebody needs it.
    turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
    everybody = asyncio.Semaphore(MOST_ALTOGETHER)

    def describe(request: web.BaseRequest, exchange: Exchange) -> Awaitable[web.StreamResponse]:
        match = exchange.match
        assert match is not None  # noqa: S101 - only matched requests come here
        plan = plan_for(context, request, exchange, match)
        headers = [field for field in plan.headers if field[0].lower() not in _LEFT_OUT]
        plan = plan._replace(headers=[*headers, (b"Accept-Encoding", b"identity")])
        change = partial(rewritten.rewrite, match.upstream_path)
        turn = turns.setdefault(match.route.id, asyncio.Semaphore(MOST_AT_A_TIME))
        send = changing(change, _is_json, MOST_BYTES, turn, everybody)
        ask = partial(forwarded, context, request, exchange, plan, send)
        # A call with a body is the caller's own.
        return ask() if request.body_exists else shared.answer(_key(plan), ask)

    return lambda method, match, path: describe if is_document(method, match, path) else forward


def _is_json(message: RawResponseMessage) -> bool:
    kind = message.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    return message.code == 200 and (kind == "application/json" or kind.endswith("+json"))
