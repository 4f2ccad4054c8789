"""``/{service}/v3/api-docs``: passes on a service's OpenAPI document, with ``servers`` rewritten to the gateway."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Generator, Hashable
from dataclasses import replace
from functools import partial
from io import BytesIO
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing in its stubs
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urljoin, urlsplit
from weakref import WeakValueDictionary

from aiohttp import hdrs, web
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDict

from gateway.api.envelope import encode
from gateway.api.forwarding import execute_plan, plan_for
from gateway.auth.identity import SIGNATURE
from gateway.context import CONTEXT, ChooseHandler, Handler
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.response import BufferedResponse
from gateway.proxy.transform import transforming
from gateway.routing.table import RouteMatch

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_MAX_URL_LENGTH: Final = 2000
_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")

TOKENS_PER_STEP: Final = 200
"""About a quarter of a millisecond of work."""
_WORK_A_STEP: Final = 4096
"""In characters of servers: about as long."""
_WORK_OF_A_MEMBER: Final = 20
_VERSIONS: Final = frozenset({"openapi", "swagger"})
_MAX_TOKENS: Final = 500_000
"""Several times as many as in a real document of the maximum length."""
_MAX_DEPTH: Final = 400
_MAX_SERVERS_LENGTH: Final = 8 * 1024
"""Longer lists of servers are ignored, because a list is parsed in one step."""

# For each role of an object in a document: the roles of its members. ``*`` stands for every name.
_Roles = dict[str, str]
_ROLES: Final[dict[str, _Roles]] = {
    "root": {"paths": "items", "webhooks": "items", "components": "components", "servers": "servers"},
    "items": {"*": "item"},
    "item": {
        **dict.fromkeys(_METHODS, "operation"),
        "additionalOperations": "operations",
        "servers": "servers",
    },
    "operations": {"*": "operation"},
    "operation": {"callbacks": "callbacks", "responses": "responses", "servers": "servers"},
    "callbacks": {"*": "items"},
    "responses": {"*": "response"},
    "response": {"links": "links"},
    "links": {"*": "link"},
    "link": {"server": "server"},
    "components": {
        "pathItems": "items",
        "callbacks": "callbacks",
        "responses": "responses",
        "links": "links",
    },
}
_NO_ROLES: Final[_Roles] = {}

_BLANKS: Final = re.compile(r"[ \t\n\r]*+")
_scalar = re.compile(
    r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?|true|false|null|NaN|-?Infinity"
).match


def _skip(text: str, at: int) -> int:
    """The position after the blanks that begin at ``at``."""
    blanks = _BLANKS.match(text, at)
    return at if blanks is None else blanks.end()


class InvalidDocument(ValueError):
    """A body that is not JSON, or too much of it: nested too deeply, or with too many values."""


def rewritten_document(body: bytes, path: str) -> Generator[None, None, bytes]:
    """The document with every server replaced by its path alone. This makes it a path on the server that delivers the
    document.

    ``path`` is the document's path at the service. JSON that is not an OpenAPI document is returned unchanged. Raises
    InvalidDocument. It works in steps, so other work can run between two of them.
    """
    try:
        document = _OpenApiDocument(body.decode(json.detect_encoding(body), "surrogatepass"))
        yield from document.scan()
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidDocument(str(error)) from error
    if not document.is_described:
        return body
    return (yield from document.rewritten(path))


class _OpenApiDocument:
    """A scanned document: the members of its root, and the positions of its servers."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._members: list[tuple[str, int, int, int]] = []
        """Members of the root: name, where it begins, where its value begins and ends."""
        self._found: list[tuple[str, int, int]] = []
        """Servers below the root: role, begin and end."""
        self._versions: set[str] = set()
        """Which of the members that name a version of OpenAPI it has."""

    @property
    def is_described(self) -> bool:
        """Whether it is an OpenAPI document."""
        return bool(self._versions)

    def rewritten(self, path: str) -> Generator[None, None, bytes]:
        """The document for clients, created in steps."""
        text = self._text
        # Version 2 has no servers. Paths begin at basePath; without host and schemes they are on the gateway.
        old = "swagger" in self._versions
        own: Any = None
        rewritten, members = bytearray(b"{"), []
        found = iter(self._found)
        place = next(found, None)
        work = 0
        for name, at, value, end in self._members:
            begin = at
            work += _WORK_OF_A_MEMBER
            if name in ("host", "schemes") if old else name == "servers":
                if not old:
                    work += end - value
                    own = self._servers(value, end)
                continue
            pieces: list[str] = []
            while place is not None and place[1] < end and not old:
                role, first, last = place
                pieces += (text[begin:first], self._rewritten_servers(role, first, last, path))
                begin = last
                place = next(found, None)
                work += _WORK_OF_A_MEMBER + last - first
                if work > _WORK_A_STEP:
                    work = 0
                    yield
            pieces.append(text[begin:end])
            members.append("".join(pieces))
            if work > _WORK_A_STEP:
                rewritten += _encoded(",".join((*members, "")))
                work, members = 0, []
                yield
        if old:
            return bytes(rewritten + _encoded(",".join(members))).removesuffix(b",") + b"}"
        members.append(f'"servers":{encode(paths_of(own, path)).decode()}')
        return bytes(rewritten + _encoded(",".join(members)) + b"}")

    def _servers(self, begin: int, end: int) -> Any:
        return json.loads(self._text[begin:end]) if end - begin <= _MAX_SERVERS_LENGTH else None

    def _rewritten_servers(self, role: str, begin: int, end: int, path: str) -> str:
        servers = self._servers(begin, end)
        rewritten = paths_of([servers], path)[0] if role == "server" else paths_of(servers, path)
        return encode(rewritten).decode()

    def scan(self) -> Generator[None, None, None]:  # noqa: PLR0912, PLR0915 - one loop over all kinds of tokens
        """Scans the document in steps. Raises JSONDecodeError or InvalidDocument."""
        text = self._text
        # Of each open object or array: its closing character, the roles of its members, its own role, and where it
        # begins.
        stack: list[tuple[str, _Roles, str, int]] = []
        root_key = "", 0
        role = "root"
        at = _skip(text, 0)
        tokens = 0
        while True:
            tokens += 1
            if tokens % TOKENS_PER_STEP == 0:
                if tokens > _MAX_TOKENS:
                    raise InvalidDocument("too many values")
                yield
            begin = at
            char = text[at : at + 1]
            if char in ("{", "["):
                if len(stack) >= _MAX_DEPTH:
                    raise InvalidDocument("nested too deeply")
                at = _skip(text, at + 1)
                if char == "{":
                    members = _ROLES.get(role, _NO_ROLES)
                    stack.append(("}", members, role, begin))
                    if text[at : at + 1] != "}":
                        key, key_at, at = self._key(at)
                        if len(stack) == 1:
                            root_key = key, key_at
                        role = members.get(key) or members.get("*", "")
                        continue
                else:
                    stack.append(("]", _NO_ROLES, role, begin))
                    if text[at : at + 1] != "]":
                        role = ""
                        continue
                at += 1
                stack.pop()
            elif char == '"':
                _, at = scanstring(text, at + 1, True)
            elif (match := _scalar(text, at)) is not None:
                at = match.end()
            else:
                raise json.JSONDecodeError("Expecting value", text, at)
            # A value has ended, and perhaps also the object or array that holds it.
            while True:
                depth = len(stack)
                if depth == 1 and stack[0][0] == "}":
                    self._members.append((*root_key, begin, at))
                    if root_key[0] in _VERSIONS:
                        self._versions.add(root_key[0])
                elif role in ("servers", "server"):
                    self._found.append((role, begin, at))
                at = _skip(text, at)
                if not depth:
                    if at != len(text):
                        raise json.JSONDecodeError("Expecting nothing more", text, at)
                    return
                closing, members, own_role, own_begin = stack[-1]
                char = text[at : at + 1]
                if char == ",":
                    at = _skip(text, at + 1)
                    role = ""
                    if closing == "}":
                        key, key_at, at = self._key(at)
                        if depth == 1:
                            root_key = key, key_at
                        role = members.get(key) or members.get("*", "")
                    break
                if char != closing:
                    raise json.JSONDecodeError("Expecting a comma or the end", text, at)
                at += 1
                stack.pop()
                role, begin = own_role, own_begin

    def _key(self, at: int) -> tuple[str, int, int]:
        """A member's name, where the name begins, and where its value begins."""
        text = self._text
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting a name", text, at)
        key, end = scanstring(text, at + 1, True)
        end = _skip(text, end)
        if text[end : end + 1] != ":":
            raise json.JSONDecodeError("Expecting a colon", text, end)
        return key, at, _skip(text, end + 1)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def paths_of(servers: Any, path: str) -> list[dict[str, str]]:
    """``servers`` as paths, each once; the gateway's own root if there are none."""
    listed = servers if isinstance(servers, list) else []
    found = [_path_of(server, path) for server in listed if isinstance(server, dict)]
    return [{"url": url} for url in dict.fromkeys(found)] or [{"url": "/"}]


def _path_of(server: dict[str, Any], path: str) -> str:
    variables = server.get("variables")
    given = variables if isinstance(variables, dict) else {}

    def default(match: re.Match[str]) -> str:
        variable = given.get(match[1])
        return str(variable.get("default", ""))[:_MAX_URL_LENGTH] if isinstance(variable, dict) else ""

    url = str(server.get("url", "/"))
    # Checked before and after: a short URL with long variables can become thousands of times as long.
    if len(url) > _MAX_URL_LENGTH or len(url := _VARIABLE.sub(default, url)) > _MAX_URL_LENGTH:
        return "/"
    try:
        found = urlsplit(urljoin(path, url)).path
    except ValueError:
        found = "/"
    # A browser takes // and /\ for the beginning of a host.
    return "/" + found.lstrip("/\\")


_DOCUMENT: Final = "/v3/api-docs"

MAX_BYTES: Final = 2 * 1024 * 1024
"""The maximum length of a decoded document: several times that of a big service."""

SLICE_SECONDS: Final = 0.002
"""How many seconds scanning a document may block the event loop at a time."""

MAX_CONCURRENT_PER_ROUTE: Final = 4
"""How many documents of one route may be in memory at a time, apart from those in the cache. A limit is needed, because
any client may request them. Further calls wait, at most as long as for an answer."""

MAX_CONCURRENT: Final = 8
"""The same for all routes together."""

_MAX_CACHE_BYTES: Final = 16 * 1024 * 1024
_MAX_CACHED_DOCUMENTS: Final = 1024
"""A service may answer any number of paths with a document of a few bytes."""

# The gateway requests the whole current document, without content coding.
_DROPPED_HEADERS: Final = frozenset(
    {b"accept-encoding", b"range", b"if-match", b"if-none-match", b"if-modified-since"}
    | {b"if-unmodified-since", b"if-range"}
)


def is_document(method: str, match: RouteMatch, path: str) -> bool:
    """Whether a matched call requests an API description, judged by the path at the gateway or at the service."""
    return (
        method == "GET" and (_DOCUMENT in match.upstream_path or _DOCUMENT in path) and match.answer is None
    )


_PER_CALL_HEADERS: Final = frozenset(
    {b"traceparent", b"tracestate", b"x-forwarded-for", b"forwarded", b"x-real-ip", b"user-agent"}
    | {SIGNATURE.lower()}
)


class RewrittenDocuments:
    """Rewrites documents and caches the latest by their contents: scanning one takes milliseconds, and any client may
    request it. The cache is bounded in bytes and in documents."""

    def __init__(self) -> None:
        self._documents: dict[bytes, bytes] = {}
        self._bytes = 0
        self._lock = asyncio.Lock()

    async def rewrite(self, path: str, body: bytes) -> bytes:
        """The document for clients; ``path`` is its path at the service. Raises UpstreamUnreachable if the body is not
        JSON although its head says so: a document that can't be parsed might point anywhere."""
        key = await asyncio.to_thread(_digest, path, body)
        known = self._documents.get(key)
        if known is not None:
            return known
        async with self._lock:
            # A concurrent call may have done it.
            if key not in self._documents:
                try:
                    document = await _in_slices(rewritten_document(body, path))
                except InvalidDocument as error:
                    raise UpstreamUnreachable("an API description that is no JSON") from error
                self._store(key, document)
                return document
            return self._documents[key]

    def _store(self, key: bytes, document: bytes) -> None:
        self._documents[key] = document
        self._bytes += len(document)
        while self._bytes > _MAX_CACHE_BYTES or len(self._documents) > _MAX_CACHED_DOCUMENTS:
            self._bytes -= len(self._documents.pop(next(iter(self._documents))))


def _digest(path: str, body: bytes) -> bytes:
    digest = hashlib.sha256(path.encode("utf-8", "backslashreplace"))
    digest.update(b"\0")
    digest.update(body)
    return digest.digest()


async def _in_slices(steps: Generator[None, None, bytes]) -> bytes:
    """The result of ``steps``. Blocks the loop for ``SLICE_SECONDS`` at a time, and for a quarter of the time at
    most."""
    while True:
        deadline = time.perf_counter() + SLICE_SECONDS
        try:
            while time.perf_counter() < deadline:
                next(steps)
        except StopIteration as done:
            return bytes(done.value)
        await asyncio.sleep(3 * SLICE_SECONDS)


class _Document(NamedTuple):
    """A requested document, for other callers who requested the same in the meantime."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


_Outcome = _Document | GatewayError | Literal["other", "gone"]
"""The document, or why there is none: an error, another kind of answer, or the first caller disconnected."""


class SharedCalls:
    """Calls for documents in progress. A caller that requests the same document waits for the call in progress."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Future[_Outcome]] = {}

    async def answer(
        self, key: Hashable, fetch: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The answer to ``fetch``, or to that of another caller with the same ``key``. Raises what ``fetch`` raises."""
        while (call := self._calls.get(key)) is not None:
            outcome = await asyncio.shield(call)
            if isinstance(outcome, _Document):
                return BufferedResponse(
                    body=BytesIO(outcome.body), status=outcome.status, headers=outcome.headers.copy()
                )
            if isinstance(outcome, GatewayError):
                raise outcome.with_traceback(None)
            if outcome == "other":
                return await fetch()
        return await self._fetch_for_all(key, fetch)

    async def _fetch_for_all(
        self, key: Hashable, fetch: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        call = self._calls[key] = asyncio.get_running_loop().create_future()
        outcome: _Outcome = "gone"
        try:
            answer = await fetch()
            outcome = _outcome_of(answer)
        except GatewayError as error:
            outcome = error
            raise
        finally:
            del self._calls[key]
            call.set_result(outcome)
        return answer


def _outcome_of(answer: web.StreamResponse) -> _Outcome:
    if not isinstance(answer, BufferedResponse):
        return "other"
    headers = answer.headers.copy()
    # Cookies are for the first caller alone.
    headers.popall(hdrs.SET_COOKIE, None)
    return _Document(answer.status, headers, answer.full_body)


def _key(plan: ForwardPlan) -> Hashable:
    """Equal for calls that get the same document. It includes the caller's identity, but not the address or the
    trace."""
    headers = tuple(field for field in plan.headers if field[0].lower() not in _PER_CALL_HEADERS)
    return plan.route_id, plan.base, plan.target, headers


def handler_chooser(forward: Handler) -> ChooseHandler:
    """Returns the function that chooses the handler of a matched call: API descriptions in JSON are rewritten,
    ``forward`` handles all other calls."""
    rewritten = RewrittenDocuments()
    shared = SharedCalls()
    # By route, so that a service that hangs delays only its own documents. A semaphore exists while a call uses it.
    semaphores: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
    all_routes = asyncio.Semaphore(MAX_CONCURRENT)

    def describe(request: web.Request) -> Awaitable[web.StreamResponse]:
        match = request[CONTEXT].match
        assert match is not None  # noqa: S101 - only matched requests reach this handler
        plan = plan_for(request, match)
        headers = [field for field in plan.headers if field[0].lower() not in _DROPPED_HEADERS]
        plan = plan._replace(headers=[*headers, (b"Accept-Encoding", b"identity")])
        if plan.breaker is not None:
            # A fallback is no document of the service.
            plan = plan._replace(breaker=replace(plan.breaker, has_fallback=False))
        transform = partial(rewritten.rewrite, match.upstream_path)
        semaphore = semaphores.setdefault(match.route.id, asyncio.Semaphore(MAX_CONCURRENT_PER_ROUTE))
        fetch = partial(
            execute_plan, request, plan, transforming(transform, _is_json, MAX_BYTES, semaphore, all_routes)
        )
        # A call with a body is not shared.
        return fetch() if request.body_exists else shared.answer(_key(plan), fetch)

    return lambda method, match, path: describe if is_document(method, match, path) else forward


def _is_json(message: RawResponseMessage) -> bool:
    kind = message.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    return message.code == 200 and (kind == "application/json" or kind.endswith("+json"))
