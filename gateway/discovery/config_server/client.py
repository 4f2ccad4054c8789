"""Keeps a Config Server's properties up to date: fetches at the start, at intervals, and on request."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway.background import end_task
from gateway.discovery.config_server.fetch import Ask
from gateway.discovery.config_server.properties import properties_of
from gateway.discovery.config_server.response import NoConfiguration, parse_response
from gateway.errors import ConfigError, ConfigRefused, ConfigUnavailable
from gateway.routing.spec.overlay import Properties

Offer = Callable[[Properties | None], Awaitable[tuple[str, ...]]]
"""Puts properties in force (None: the route file alone), or returns what is wrong with them."""

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
MIN_INTERVAL_SECONDS: Final = 1.0
"""The least time between two fetches that no caller waits for. It limits the load of repeated webhook calls."""
MAX_LISTED: Final = 200
"""How many names of ignored properties one log line lists."""
MAX_REMEMBERED: Final = 10_000
MAX_WARNINGS: Final = 50
"""How many ignored properties get a log line of their own during the life of the process."""
MAX_NAME_LENGTH: Final = 200
NO_ROUTES: Final = "it has no routes any more"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The state for health. ``reason``: why the last fetch failed, empty if it succeeded. ``failures``: failed fetches
    in a row. ``version``: the commit in force. ``label``: where it was found. ``ignored``: number of properties that
    the gateway does not use. ``gives_routes``: the routes come from the server and not from the file."""

    version: str | None
    label: str | None
    gives_routes: bool
    failures: int
    reason: str
    ignored: int


@dataclass(frozen=True, slots=True)
class _LostProperties:
    """What the server had before and has no more, and when a fetch first noticed it."""

    what: str
    since: float


class ConfigServer:
    """One Config Server, or several of the same content.

    ``interval``: seconds between two fetches; 0: no more fetches once the server has answered. ``optional``: the
    gateway starts without the server. ``on_fetched`` is called after each fetch with ``ok``, ``failed`` or ``refused``.
    ``shown``: the address, for the log.

    A server that is away or fails changes nothing. A server may answer without the routes that it had before, or (if it
    is optional) without any configuration. That takes effect when two fetches in a row find it: the first one may have
    met a server that was still starting. It must take effect, because a gateway that starts now would run without them
    as well, and all instances must serve the same.
    """

    def __init__(
        self,
        ask: Ask,
        environ: Mapping[str, str],
        *,
        shown: str = "",
        interval: float = 30.0,
        optional: bool = False,
        on_fetched: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self.properties: Properties | None = None
        """The properties in force, or being offered. None until the server has answered, and while only the route file
        is in force."""
        self.unready = False
        """Whether the gateway waits for the first valid response. One without properties for this gateway counts."""
        self._ask = ask
        self._environ = environ
        self._shown = shown
        self._interval = interval
        self._optional = optional
        self._on_fetched = on_fetched
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[tuple[str, ...]]] = []
        self._failures = 0
        self._reason = ""
        self._refused = False
        self._loss: _LostProperties | None = None
        """What the last fetch found missing, until a second fetch confirms it."""
        self._looked_at = -MIN_INTERVAL_SECONDS
        self._listed: set[str] = set()
        self._warned = 0

    def status(self) -> ConfigStatus:
        """The present state."""
        now = self.properties
        if now is None:
            return ConfigStatus(None, None, False, self._failures, self._reason, 0)
        return ConfigStatus(
            now.version, now.label, now.gives_routes, self._failures, self._reason, len(now.ignored)
        )

    async def first(self) -> Properties:
        """Fetch the properties at the start, before ``running``. Raises ConfigUnavailable."""
        try:
            self.properties = await self._fetch()
        except ConfigUnavailable as error:
            self._failed(error, "failed")
            raise
        self._succeeded(self.properties)
        return self.properties

    def refused(self, issues: tuple[str, ...]) -> None:
        """Note that the properties that ``first`` returned could not be used."""
        self.properties = None
        self._failed(ConfigRefused(issues), "refused")

    def poll_soon(self) -> None:
        """Request a fetch as soon as possible, without waiting for it. Several calls lead to one fetch."""
        self._wanted.set()

    async def refresh(self) -> tuple[str, ...]:
        """Fetch now; return the names of properties that changed. Raises ConfigUnavailable or ConfigRefused."""
        future: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        return await future

    @asynccontextmanager
    async def running(self, offer: Offer) -> AsyncIterator[None]:
        """Fetch regularly until the block ends, and pass new properties to ``offer``."""
        task = asyncio.create_task(self._watch(offer), name="config server")
        try:
            yield
        finally:
            await end_task(task)
            for future in self._waiting:
                future.cancel()

    async def _watch(self, offer: Offer) -> None:
        while True:
            await self._wait_for_poll()
            self._wanted.clear()
            # A caller that arrives from here on waits for the next fetch: this one may miss its change.
            waiting, self._waiting = self._waiting, []
            try:
                outcome = await self._poll(offer, asked=bool(waiting))
                for future in waiting:
                    _settle(future, outcome)
            finally:
                for future in waiting:
                    future.cancel()  # no effect on a future that has its result

    async def _wait_for_poll(self) -> None:
        try:
            async with asyncio.timeout(self._next_delay()):
                await self._wanted.wait()
        except TimeoutError:
            return
        if not self._waiting:
            await asyncio.sleep(self._looked_at + MIN_INTERVAL_SECONDS - time.monotonic())

    async def _poll(self, offer: Offer, *, asked: bool) -> tuple[str, ...] | ConfigError:
        self._looked_at = time.monotonic()
        before, self._loss = self._loss, None
        try:
            new, lost = await self._fetch_again()
            if lost and not self.unready and not self._accepts_loss(lost, before, asked):
                doubt = f"{lost}; when it says so again, it is believed, and the route file counts instead"
                raise ConfigUnavailable(doubt) if new is None else ConfigRefused((doubt,))
            # After a refusal, ``offer`` is called even if nothing changed, so that the refusal is cleared there too.
            if self.properties and new and new.digest == self.properties.digest and not self._refused:
                changed: tuple[str, ...] = ()
            else:
                issues = await offer(new)
                self._refused = bool(issues)
                if issues:
                    raise ConfigRefused(issues)
                changed = _changed(self.properties, new)
                if changed and new:
                    _log.info("%d properties of the Config Server changed (%s)", len(changed), new.version)
        except ConfigError as error:
            self._failed(error, "refused" if isinstance(error, ConfigRefused) else "failed")
            return error
        except Exception as error:  # any error: the properties in force stay, and fetching continues
            _log.exception("the Config Server's answer could not be used")
            failure = ConfigUnavailable(
                f"a fault of the gateway itself ({type(error).__name__}); see its log"
            )
            self._failed(failure, "failed")
            return failure
        again, self.unready = "" if self.unready else " again", False
        self.properties, self._loss = new, None
        if lost:
            _log.warning(
                "the Config Server at %s says%s: %s. The route file counts instead", self._shown, again, lost
            )
        if new:
            self._succeeded(new)
        else:
            # From here on the gateway runs as one that has started without the server.
            self._failures, self._reason = 0, lost
            self._failed(ConfigUnavailable(lost), "failed")
        return changed

    async def _fetch_again(self) -> tuple[Properties | None, str]:
        """The properties to put in force (None: only the route file), and what that would lose (empty: nothing)."""
        try:
            new = await self._fetch()
        except NoConfiguration as error:
            if not self._optional or (self.properties is None and not self.unready):
                raise
            return None, error.reason
        gave_routes = self.properties is not None and self.properties.gives_routes
        return new, NO_ROUTES if gave_routes and not new.gives_routes else ""

    def _accepts_loss(self, lost: str, before: _LostProperties | None, asked: bool) -> bool:
        """Whether this fetch confirms the loss that an earlier one found. A fetch that a caller waits for always does.
        Any other one does if half of the interval has passed, because webhooks may arrive in quick succession."""
        if before is None or before.what != lost:
            self._loss = _LostProperties(lost, self._looked_at)
            return False
        self._loss = before
        return asked or self._looked_at - before.since >= self._interval / 2

    async def _fetch(self) -> Properties:
        body = await self._ask()
        return await asyncio.to_thread(lambda: properties_of(parse_response(body), self._environ))

    def _succeeded(self, properties: Properties) -> None:
        self._on_fetched("ok")
        if self._failures:
            _log.info("the Config Server's configuration is in force again after %d failures", self._failures)
        self._failures, self._reason = 0, ""
        new = [name for name in properties.ignored if name not in self._listed]
        if new and len(self._listed) < MAX_REMEMBERED:
            self._listed.update(new)
            self._warn_of({name: properties.unread[name] for name in new if name in properties.unread})
            new = [name for name in new if name not in properties.unread]
        else:
            new = []
        if new:
            more = f" and {len(new) - MAX_LISTED} more" if len(new) > MAX_LISTED else ""
            _log.info(
                "properties of the Config Server that mean nothing here: %s%s",
                ", ".join(new[:MAX_LISTED]),
                more,
            )

    def _warn_of(self, unread: Mapping[str, str]) -> None:
        """Log a line for each property that Spring Cloud Gateway would have used, up to ``MAX_WARNINGS`` lines."""
        room = MAX_WARNINGS - self._warned
        self._warned += len(unread)
        for name in list(unread)[: max(room, 0)]:
            _log.warning("the Config Server's property %s has no effect: %s", _printable(name), unread[name])
        if len(unread) > room >= 0:
            _log.warning("and %d more properties of the Config Server have no effect", len(unread) - room)

    def _failed(self, error: ConfigError, outcome: str) -> None:
        self._on_fetched(outcome)
        self._failures += 1
        reason = "; ".join(field.reason for field in error.fields)
        # The same reason is logged as a warning only once.
        level = logging.DEBUG if reason == self._reason else logging.WARNING
        self._reason = reason
        _log.log(level, "nothing new from the Config Server at %s: %s", self._shown, reason)

    def _next_delay(self) -> float | None:
        """Seconds until the next fetch, with jitter so that instances don't fetch at the same time. None: no fetch."""
        pause = self._interval or None
        # A loss is checked again after the usual interval: a server that is starting may need longer than a retry.
        if self._failures and not self._loss and (self._interval or self.properties is None):
            backed_off = FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10)
            pause = min(self._interval or MAX_RETRY_SECONDS, MAX_RETRY_SECONDS, backed_off)
        return pause * random.uniform(0.9, 1.0) if pause else None


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name[:MAX_NAME_LENGTH])


def _settle(future: asyncio.Future[tuple[str, ...]], outcome: tuple[str, ...] | ConfigError) -> None:
    if future.done():
        return  # the caller has gone
    if isinstance(outcome, ConfigError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _changed(old: Properties | None, new: Properties | None) -> tuple[str, ...]:
    before, after = old.values if old else {}, new.values if new else {}
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
