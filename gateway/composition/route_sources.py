"""Sources of routes: the file, a Config Server laid over it, and a route for each known service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Self

import aiohttp

from gateway.background import end_task
from gateway.composition.live_settings import config_server, is_optional
from gateway.composition.warnings import warnings_of_table
from gateway.discovery.config_server.client import ConfigServer
from gateway.errors import ConfigRefused, ConfigUnavailable, ConfigUnusable
from gateway.observability.metrics import Metrics
from gateway.routing.discovered_routes import with_discovered_routes
from gateway.routing.spec.issues import Issue, RouteFileError, summarize
from gateway.routing.spec.loader import content_of, default_file, parse
from gateway.routing.spec.overlay import Properties
from gateway.routing.table import RouteTable
from gateway.routing.watch import RouteWatcher
from gateway.settings.model import Settings

IN_FORCE_SECONDS: Final = 10.0
"""Seconds that a refresh waits for a new table to be in force."""

log = logging.getLogger("gateway")

Take = Callable[[RouteTable], Awaitable[None]]


class RouteSources:
    """Made by ``load``; keeps the routes up to date inside ``running``.

    ``first`` is the table at the start. ``config`` is the Config Server, if there is one.

    If the Config Server is optional and gives an unusable answer at the start, nothing is served: its routes, issuer or
    capacity may differ from the file's. ``unready`` then says why, ``first`` is a table without routes and rooms, and
    the first usable answer makes the gateway ready. If the server is away or has no configuration for this gateway, the
    gateway starts without it.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        metrics: Metrics,
        config: ConfigServer | None,
    ) -> None:
        self.file: Path = settings.routes_path(default_file())
        self.config = config
        self.issues: tuple[str, ...] = ()
        """Why the present file or configuration is not in force."""
        self.unready = ""
        """Why nothing is served; empty once a table has been in force."""
        self._on_ready: list[Callable[[], None]] = []
        self._settings = settings
        self._environ = environ
        self._metrics = metrics
        self._discovered: frozenset[str] = frozenset()
        self._data = b""
        self._properties: Properties | None = None
        self._read = RouteTable()
        self.first = self._read
        self._newest: RouteTable | None = None
        self._come = asyncio.Event()
        self._in_force = asyncio.Event()
        self._watcher: RouteWatcher | None = None

    @classmethod
    async def load(
        cls,
        settings: Settings,
        environ: Mapping[str, str],
        session: aiohttp.ClientSession,
        metrics: Metrics,
    ) -> Self:
        """Reads everything for the first time.

        Raises RouteFileError if the file has faults. A Config Server that is away or has faults stops the start
        (ConfigUnavailable, RouteFileError), unless it is optional: see ``unready``.
        """
        sources = cls(settings, environ, metrics, config_server(settings, environ, session, metrics))
        sources._data = content_of(sources.file)
        sources._read = await asyncio.to_thread(parse, sources._data, str(sources.file), environ)
        if sources.config is not None:
            await sources._first_of(sources.config)
        if sources.unready:
            sources.first = RouteTable(source=str(sources.file), unready=sources.unready)
        else:
            sources.first = await sources._with_discovered_routes(sources._read)
        return sources

    async def _first_of(self, config: ConfigServer) -> None:
        optional = is_optional(self._settings)
        try:
            properties = await config.first()
            table = await asyncio.to_thread(parse, self._data, str(self.file), self._environ, properties)
        except ConfigUnavailable as error:
            if not optional:
                raise
            if isinstance(error, ConfigUnusable):
                self._metrics.routes_reloaded(False)
                self.unready = error.reason
                config.unready = True
        except RouteFileError as error:
            if not optional:
                raise
            self.issues = summarize(error.issues)
            self._metrics.routes_reloaded(False)
            config.refused(self.issues)
            self.unready = "; ".join(self.issues)
            config.unready = True
        else:
            self._read, self._properties = table, properties

    @contextlib.asynccontextmanager
    async def running(self, take: Take) -> AsyncIterator[None]:
        """Passes each new table to ``take``, one after the other, until the block ends."""
        watcher = self._watcher = RouteWatcher(
            self.file,
            self._environ,
            self._read,
            data=self._data,
            properties=self._properties,
            on_table=self._put,
            on_issues=self._refuse,
        )
        if self._discovered and self._read.locator is not None and not self.unready:
            self._renew(self._read)  # these services came after the first table
        async with contextlib.AsyncExitStack() as stack:
            task = asyncio.create_task(self._work(take), name="route table")
            stack.push_async_callback(end_task, task)
            await stack.enter_async_context(watcher.running())
            if self.config is not None:
                await stack.enter_async_context(self.config.running(self._offer))
            yield

    def discover(self, names: Iterable[str]) -> None:
        """Sets the services that discovery knows from now on, in any case and order, for the locator. Costs nothing
        while they are the same."""
        known = frozenset(names)
        if known == self._discovered:
            return
        self._discovered = known
        if self.unready and self._newest is None:
            return
        if self._watcher is not None and self._watcher.table.locator is not None:
            self._renew(self._watcher.table)

    def when_ready(self, call: Callable[[], None]) -> None:
        """Calls ``call`` now or, if nothing is served yet, once the first table is in force."""
        if self.unready:
            self._on_ready.append(call)
        else:
            call()

    def reload(self) -> None:
        """Reads the file and calls the Config Server at once, without waiting; for SIGHUP."""
        if self._watcher is not None:
            self._watcher.reload()
        self.poll_config_server()

    def poll_config_server(self) -> None:
        """Calls the Config Server as soon as possible, without waiting for it."""
        if self.config is not None:
            self.config.poll_soon()

    async def refresh(self) -> tuple[str, ...]:
        """Reads file and configuration now, and waits until what is new is in force. Returns the names of the
        properties that changed. Raises ConfigUnavailable or ConfigRefused; the previous configuration then stays in
        force."""
        if self._watcher is not None:
            await self._watcher.read()
        changed = await self.config.refresh() if self.config is not None else ()
        if self.issues:
            raise ConfigRefused(self.issues)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IN_FORCE_SECONDS):
                await self._in_force.wait()
        return changed

    async def _offer(self, properties: Properties | None) -> tuple[str, ...]:
        assert self._watcher is not None  # noqa: S101 - called inside running() only
        issues = summarize(await self._watcher.offer(properties))
        if self.unready and properties is None and not issues:
            # The server has answered that it has no configuration for this gateway: the file counts, as it was read
            # before.
            self._be_ready(self._watcher.table)
        return issues

    def _put(self, table: RouteTable) -> None:
        assert self._watcher is not None  # noqa: S101 - called inside running() only
        if self.unready and self._watcher.properties is None:
            return  # the file has changed, which says nothing about the server
        self._be_ready(table)

    def _be_ready(self, table: RouteTable) -> None:
        self.issues = ()
        self._metrics.routes_reloaded(True)
        self._renew(table)

    def _refuse(self, issues: tuple[Issue, ...]) -> None:
        self.issues = summarize(issues)
        self._metrics.routes_reloaded(False)
        log.error("not taken over, so what was in force stays: %s", "; ".join(self.issues))

    def _renew(self, table: RouteTable) -> None:
        self._newest = table
        self._in_force.clear()
        self._come.set()

    async def _work(self, take: Take) -> None:
        """Passes tables to ``take``. If several arrive while one is being taken, only the last counts."""
        if not self._come.is_set():
            self._in_force.set()
        while True:
            await self._come.wait()
            self._come.clear()
            table = self._newest
            if table is None:
                continue
            try:
                table = await self._with_discovered_routes(table)
                await take(table)
                self._in_service()
                self.log(table)
            except Exception:
                log.exception("a route table could not be put in force")
            if not self._come.is_set():
                self._in_force.set()

    def _in_service(self) -> None:
        if self.unready:
            self.unready = ""
            log.warning("ready: the Config Server has answered with something usable")
        calls, self._on_ready = self._on_ready, []
        for call in calls:
            call()

    async def _with_discovered_routes(self, table: RouteTable) -> RouteTable:
        if table.locator is None:
            return table
        own = self._settings.spring_application_name
        return await asyncio.to_thread(with_discovered_routes, table, self._discovered, own=own)

    def log(self, table: RouteTable) -> None:
        """Logs a line about the table in force, and one for each of its warnings (the first twenty)."""
        if table.unready:
            log.error(
                "not ready, and nothing is served: the Config Server answered with something unusable, and what it has "
                "may differ from %s: %s",
                self.file,
                table.unready,
            )
            return
        count = len(table.routes)
        log.info("%d route%s from %s", count, "" if count == 1 else "s", self.source_names)
        for warning in summarize(warnings_of_table(table, self._settings)):
            log.warning("%s", warning)

    @property
    def source_names(self) -> str:
        """The sources of the routes in force, for the log."""
        properties = self._watcher.properties if self._watcher is not None else self._properties
        return f"{self.file} and the Config Server" if properties else str(self.file)
