"""Fetches from Config Servers over HTTP, within limits, trying several servers in order."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from multidict import CIMultiDict

from gateway.discovery.config_server.response import MAX_BYTES
from gateway.errors import ConfigUnavailable, ConfigUnusable

T = TypeVar("T")


async def answers(
    calls: Sequence[Callable[[], Awaitable[T]]],
    *,
    over: float,
    rounds: int,
    is_said: Callable[[BaseException], bool],
) -> list[asyncio.Future[T]]:
    """The outcome of each call, in the order of ``calls``, once one has succeeded or all have failed.

    The next call begins when an earlier one has failed or is slow. Earlier calls go on, so the first one has the
    whole time. At ``over`` (event-loop time) the remaining calls get a TimeoutError. ``rounds`` is how many rounds,
    this one included, share the time. If a call fails with an error for which ``is_said`` is true, this round ends
    after its share of the time.
    """
    loop = asyncio.get_running_loop()
    began = begun_at = loop.time()
    share = max(over - began, 0.0) / rounds
    pause = share / max(len(calls), 1)
    tasks: list[asyncio.Task[T]] = []
    known_failures = 0
    try:
        while True:
            running = {task for task in tasks if not task.done()}
            failures = [error for task in tasks if task.done() and (error := task.exception()) is not None]
            if len(running) + len(failures) < len(tasks) or (not running and len(tasks) == len(calls)):
                break
            end = began + share if any(map(is_said, failures)) else over
            now = loop.time()
            due = begun_at + pause if running and len(failures) == known_failures else now
            if len(tasks) < len(calls) and now >= due:
                tasks.append(asyncio.ensure_future(_awaited(calls[len(tasks)])))
                begun_at, known_failures = now, len(failures)
                continue
            if now >= end:
                break
            until = min(due, end) if len(tasks) < len(calls) else end
            await asyncio.wait(running, timeout=until - now, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    return [_outcome(tasks[at] if at < len(tasks) else None) for at in range(len(calls))]


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


def _outcome(task: asyncio.Task[T] | None) -> asyncio.Future[T]:
    if task is not None and not task.cancelled():
        task.exception()  # otherwise asyncio warns that it was never retrieved
        return task
    late: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    late.set_exception(TimeoutError())
    late.exception()
    return late


Ask = Callable[[], Awaitable[bytes]]
"""Returns the server's response. Raises ConfigUnavailable; ConfigUnusable if the response is of no use."""

Find = Callable[[], Awaitable[tuple[str, ...]]]
"""Looks up the servers' addresses, which contain users and passwords. Raises ConfigUnavailable if there is none."""

SECONDS: Final = 10.0
"""Default time limit for the whole response, all servers together. A real server may clone a repository first."""

_HEADERS: Final = {
    # The second format names the file and line of each value. A server that has only the first one may send that.
    "Accept": "application/vnd.spring-cloud.config-server.v2+json, application/json;q=0.9",
}
_MEANING: Final = {
    401: "user or password is wrong",
    403: "user or password is wrong",
    404: "there is no such label, or a file in the repository is broken",
}
_AWAY: Final = frozenset({429, 502, 503, 504})
"""Statuses that a proxy sends if the server behind it is away, and that a server sends if it can't answer now."""

# Errors in what a server sent. A server that is away sends nothing, or closes the connection before its response.
_UNTRUSTED: Final = aiohttp.ClientSSLError
_BROKEN: Final = (aiohttp.ClientPayloadError, aiohttp.ClientResponseError)
_ANSWERED: Final = (_UNTRUSTED, *_BROKEN)


@dataclass(frozen=True, slots=True)
class ConfigRequest:
    """What to request, and with which credentials. ``urls`` are servers with the same content, tried in order.
    ``labels``: the first one that a server has counts; without any, the server uses its default. ``found``: the servers
    are looked up, and user and password in their addresses take precedence over those here. ``headers`` and ``token``
    are sent with each call. Connecting to one server may take ``connect_seconds``; the response may take ``seconds``
    for all servers together."""

    urls: tuple[str, ...]
    application: str
    profiles: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    found: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token: str = field(default="", repr=False)
    connect_seconds: float = SECONDS
    seconds: float = SECONDS

    @property
    def paths(self) -> tuple[str, ...]:
        """The path behind a server's address, for each label. A slash in a label is written as the server expects."""
        parts = [self.application, ",".join(self.profiles) or "default"]
        labels = [label.replace("/", "(_)") for label in self.labels]
        asked = [(*parts, label) for label in labels] or [tuple(parts)]
        return tuple("/".join(quote(part, safe="(),") for part in each) for each in asked)


class _NotFound(ConfigUnusable):
    """The server answers, but has no such label."""


def http_fetcher(session: aiohttp.ClientSession, wanted: ConfigRequest, find: Find | None = None) -> Ask:
    """An ``Ask`` over this session. Redirects are not followed, because only the operator decides where the
    configuration comes from.

    The next label is requested only if a server has said that it does not have the label before. A server that is away
    for a moment must not bring another configuration into force. While a slow server is waited for, the next one is
    called as well.

    With ``find``, its servers are used instead of ``wanted.urls``. The one that answered last is called first. If none
    of the known servers answers, they are looked up again.
    """
    known: tuple[str, ...] = ()

    async def ask() -> bytes:
        if find is None:
            return (await _first_answer(session, wanted, wanted.urls))[0]
        failure: ConfigUnavailable | None = None
        if known:
            try:
                return await ask_known()
            except ConfigUnavailable as error:
                failure = error
        return await ask_anew(find, failure)

    async def ask_known() -> bytes:
        nonlocal known
        body, url = await _first_answer(session, wanted, known)
        known = (url, *(each for each in known if each != url))
        return body

    async def ask_anew(find: Find, failure: ConfigUnavailable | None) -> bytes:
        nonlocal known
        found = await find()
        if failure is not None and set(found) == set(known):
            raise failure
        known = found
        return await ask_known()

    return ask


async def _first_answer(
    session: aiohttp.ClientSession, wanted: ConfigRequest, urls: Sequence[str]
) -> tuple[bytes, str]:
    """The response of the first server that sends one, and that server's address."""
    over = asyncio.get_running_loop().time() + wanted.seconds
    reasons = []
    answered = False
    for at, path in enumerate(wanted.paths):
        missing = False
        outcomes = await answers(
            [partial(_get, session, url, wanted, path) for url in urls],
            over=over,
            rounds=len(wanted.paths) - at,
            is_said=lambda error: isinstance(error, _NotFound),
        )
        for number, (url, outcome) in enumerate(zip(urls, outcomes, strict=True), 1):
            try:
                return await outcome, url
            except ConfigUnavailable as error:
                reason = error.reason
                missing = missing or isinstance(error, _NotFound)
                answered = answered or isinstance(error, ConfigUnusable)
            except aiohttp.ConnectionTimeoutError:
                reason = f"no connection within {wanted.connect_seconds:g} s"
            except TimeoutError:
                reason = f"no answer within {wanted.seconds:g} s"
            except (aiohttp.ClientError, OSError) as error:
                reason = _failure_of(error)
                answered = answered or isinstance(error, _ANSWERED)
            where = f"server {number}: " if len(urls) > 1 else ""
            label = f"label {wanted.labels[at]}: " if len(wanted.labels) > 1 else ""
            reasons.append(f"{where}{label}{reason}")
        if not missing:
            break
    raise (ConfigUnusable if answered else ConfigUnavailable)("; ".join(reasons))


async def _get(session: aiohttp.ClientSession, url: str, wanted: ConfigRequest, path: str) -> bytes:
    parts = urlsplit(url)
    user, password = wanted.user, wanted.password
    if parts.password and wanted.found:
        user, password = "", ""
    user = user or unquote(parts.username or "")
    password = password or unquote(parts.password or "")
    headers = CIMultiDict({**_HEADERS, **dict(wanted.headers)})
    if wanted.token:
        headers["X-Config-Token"] = wanted.token
    if user or password:
        headers["Authorization"] = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    async with session.get(
        f"{place(url).rstrip('/')}/{path}",
        allow_redirects=False,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, connect=wanted.connect_seconds),
    ) as response:
        if response.status != 200:
            meaning = _MEANING.get(response.status, "")
            kind = _kind_of(response.status)
            raise kind(f"status {response.status}" + (f" ({meaning})" if meaning else ""))
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ConfigUnusable(f"more than {MAX_BYTES // 1024} KiB")
        return bytes(body)


def _kind_of(status: int) -> type[ConfigUnavailable]:
    """The error for a status other than 200."""
    if status == 404:
        return _NotFound
    return ConfigUnavailable if status in _AWAY else ConfigUnusable


def _failure_of(error: Exception) -> str:
    """Why the connection or the call failed. Not the error's own text, because it may quote an address."""
    name = type(error).__name__
    if isinstance(error, _UNTRUSTED):
        return f"its certificate is not trusted, or it does not speak TLS ({name})"
    if isinstance(error, _BROKEN):
        return f"its answer breaks off or is no HTTP ({name})"
    return f"it can't be reached ({name})"


def place(url: str) -> str:
    """The address without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def places(urls: Sequence[str]) -> str:
    """All addresses, for a log."""
    return ", ".join(map(place, urls))
