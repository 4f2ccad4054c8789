"""The process: listening sockets, signals, draining, exit status."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from aiohttp import web
from prometheus_client import REGISTRY

from gateway.app import (
    ARRIVALS,
    EUREKA,
    FAST_PATH,
    METRICS,
    OPERATORS_FILE,
    ROUTE_SOURCES,
    SETTINGS,
    TUNNELS,
    WAITING_ROOMS,
    close_desk,
    create_app,
    create_management_app,
)
from gateway.composition.certificates import certificates_of
from gateway.composition.limits import limits_of
from gateway.composition.summary import redis_kind, summary, without_password
from gateway.composition.warnings import warnings_of_keys, warnings_of_settings
from gateway.context import CONFIGURATION, DETACHED, HEALTH
from gateway.errors import GatewayError, Overloaded, SettingsError
from gateway.middleware.errors import refuse_unreadable
from gateway.middleware.overload import cors_headers_of
from gateway.observability.logging import LineWriter, logging_to
from gateway.observability.metrics import Metrics
from gateway.proxy._aiohttp import missing as client_names_missing
from gateway.server._aiohttp import missing as server_names_missing
from gateway.server.certificates import Certificates
from gateway.server.listener import Runner, open_port
from gateway.settings.model import Settings, as_written
from gateway.settings.spring.environ import understood
from gateway.settings.warnings import RecordedEnviron, notes_of_names
from gateway.systemd import Notifier

log = logging.getLogger(__name__)

CLOSING_SECONDS: Final = 0.5
"""Added to the grace time, for closing what is still open. After that each wait is cancelled, one after the other."""

_RECANCEL_SECONDS: Final = 0.05
LAST_SECONDS: Final = 0.8
"""Added to the grace time. If the process still runs then (a thread waits for a name server, say), it exits at once."""

_LAST_LINES_SECONDS: Final = 0.1


class Stop:
    """Waits for SIGTERM or SIGINT, and makes sure that the process then ends. Create it in the task that serves.

    ``grace``: seconds for requests in progress. ``own_process``: the process runs only this gateway, so a second
    signal, or threads that hang, may end it. ``on_hangup`` is called at SIGHUP.
    """

    def __init__(self, grace: float, writer: LineWriter, *, own_process: bool) -> None:
        self._grace = grace
        self._writer = writer
        self._own_process = own_process
        self._stop_requested = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a running loop always has a current task here
        self._task = task
        self._timer: asyncio.TimerHandle | None = None
        self._up = False
        self.grace_is_over = False
        """Whether the grace time is over and the serving task was cancelled."""
        self.on_hangup: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Handles signals inside this context. Enter it before startup, so that no signal ends the process out of
        order."""
        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: partial(self._on_signal, signal.SIGTERM),
            signal.SIGINT: partial(self._on_signal, signal.SIGINT),
            signal.SIGHUP: self._hang_up,
        }
        for number, action in actions.items():
            self._loop.add_signal_handler(number, action)
        try:
            yield
        except asyncio.CancelledError:
            if not self.grace_is_over:
                raise
            if self._up:
                log.warning("the grace time is over: what was still open was cancelled")
            else:
                log.info("stopped during the start")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            while self.grace_is_over and self._task.cancelling():
                self._task.uncancel()
            for number in actions:
                self._loop.remove_signal_handler(number)

    async def requested(self) -> None:
        """Returns at the first SIGTERM or SIGINT. Call it once startup is complete: before that a signal cancels
        startup."""
        self._up = True
        await self._stop_requested.wait()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop_requested.is_set():
            log.warning("%s came again: ending at once", number.name)
            self._end(128 + number)
            return
        self._stop_requested.set()
        if self._own_process:
            threading.Thread(target=self._watch, name="stop", daemon=True).start()
        # During startup no request is in progress.
        self._timer = self._loop.call_later(
            self._grace + CLOSING_SECONDS if self._up else 0, self._cancel_serving
        )

    def _hang_up(self) -> None:
        self.on_hangup()

    def _cancel_serving(self) -> None:
        self.grace_is_over = True
        self._task.cancel()
        self._timer = self._loop.call_later(_RECANCEL_SECONDS, self._cancel_serving)

    def _watch(self) -> None:
        time.sleep(self._grace + LAST_SECONDS)
        log.warning("the process was still there after the grace time: ending at once")
        self._end(0)

    def _end(self, status: int) -> None:
        """Ends the process without any cleanup. The system then ends an embedded Redis in order."""
        if self._own_process:
            self._writer.close(_LAST_LINES_SECONDS)
            os._exit(status)


FULL_LOGGED_SECONDS = 10.0

WRONG_AIOHTTP: Final = (
    "this version of aiohttp lacks %s, which the gateway needs; install one that setup.cfg allows, as the page on "
    "versions says"
)
COLLECT_AFTER = (10_000, 1_000, 1_000)
"""Thresholds of Python's garbage collector. Hardly any object here is in a cycle. A collection of young objects takes 2
to 4 ms. A collection over the million objects of 15,000 streams would stop everything for tenths of a second, so it
runs only after ten million more allocations than deallocations."""


async def serve(
    settings: Settings, environ: Mapping[str, str] | None = None, *, own_process: bool = False
) -> int:
    """Runs a gateway until SIGTERM or SIGINT, then drains it. Returns the exit status: 0 after such a signal.

    The port is opened last, so every client that can connect is served. ``own_process`` as in ``Stop``.
    """
    if lacking := [*server_names_missing(), *client_names_missing()]:
        print(WRONG_AIOHTTP % ", ".join(lacking), file=sys.stderr)
        return _FAILED
    raise_descriptor_limit()
    # Variables that the route file reads are known ones.
    recorded = RecordedEnviron(understood(os.environ if environ is None else environ))
    with logging_to(
        log_format=settings.log_format, level=settings.log_level, service=settings.spring_application_name
    ) as writer:
        stop = Stop(settings.shutdown_grace_seconds, writer, own_process=own_process)
        status = 0
        with stop.signals():
            status = await _serve(settings, recorded, writer, stop)
    return status


_FAILED: Final = 1
_WRONG_SETTINGS: Final = 2
"""Tells a supervisor that a restart would not help."""


async def _serve(settings: Settings, environ: RecordedEnviron, writer: LineWriter, stop: Stop) -> int:
    systemd = Notifier.from_env(environ)
    app = create_app(settings, environ, registry=REGISTRY, log_writer=writer if settings.access_log else None)
    try:
        async with systemd.watched(), _listening(app, settings, environ):
            # Most objects that exist now live until the end: a full collection over them would only stall the loop.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECT_AFTER)
            stop.on_hangup = partial(_reload, app)
            systemd.send("READY=1")
            await stop.requested()
            systemd.send("STOPPING=1")
            log.info("stopping: %g s for what is under way", settings.shutdown_grace_seconds)
    except SettingsError as error:
        print(as_written(error, environ.environ), file=sys.stderr)
        return _WRONG_SETTINGS
    except GatewayError as error:
        print(error, file=sys.stderr)
        return _FAILED
    return 0


def _reload(app: web.Application) -> None:
    """Reads the route file, the Config Server and the file of operators again, without waiting."""
    app[ROUTE_SOURCES].reload()
    operators = app.get(OPERATORS_FILE)
    if operators is not None:
        operators.reload()


@contextlib.asynccontextmanager
async def _listening(
    app: web.Application, settings: Settings, environ: RecordedEnviron
) -> AsyncIterator[None]:
    """Accepts connections inside this context. On leaving it ends streams and finishes requests in progress, both
    within the grace time. Registers with Eureka once the ports are open, and reports DOWN before they close."""
    full = _full(app[METRICS])
    runners = [runner_of(app, full)]
    if settings.management_server_port is not None:
        runners.append(runner_of(create_management_app(app), full))
    certificates = certificates_of(settings)
    ports = (
        ("listening on", settings.server_port, certificates),
        ("management on", settings.management_server_port or 0, None),
    )
    following = contextlib.nullcontext() if certificates is None else certificates.watched()
    try:
        addresses = []
        for runner, (name, port, pair) in zip(runners, ports, strict=False):
            await _open(runner, settings.server_host, port, pair)
            addresses.append(_address(runner, "http" if pair is None else "https"))
            log.info("%s %s", name, addresses[-1])
        log.info("Redis at %s (%s)", without_password(app[WAITING_ROOMS].redis_url), redis_kind(settings))
        _log_start(app, settings, environ, *addresses)
        eureka = app.get(EUREKA)
        if eureka is not None:
            # Register only once the gateway can serve, because other services send requests at once.
            numbers = [runner.addresses[0][1] for runner in runners]
            app[ROUTE_SOURCES].when_ready(
                lambda: None if app[HEALTH].draining else eureka.listening(*numbers)
            )
        try:
            async with following:
                yield
        finally:
            await _drain(app, runners, settings)
    finally:
        # The public application owns the resources that the management application shares.
        for runner in reversed(runners):
            await runner.cleanup()


async def _drain(app: web.Application, runners: Sequence[Runner], settings: Settings) -> None:
    """Ends streams, tunnels and requests within the grace time."""
    app[HEALTH].draining = True
    eureka = app.get(EUREKA)
    grace = settings.shutdown_grace_seconds
    if eureka is not None:
        # Stopping includes two calls to Eureka: DOWN at the beginning, and unregistering at the end.
        grace = max(0.0, grace - 2 * eureka.goodbye_seconds)
        await eureka.draining()
    # One second is reserved for the last writes.
    spread = max(0.0, grace - 1.0)
    close_desk(app)
    await asyncio.gather(
        app[WAITING_ROOMS].hubs.drain(spread),
        app[TUNNELS].drain(spread),
        *(runner.stop_serving(grace) for runner in runners),
    )


def _log_start(
    app: web.Application, settings: Settings, environ: RecordedEnviron, base: str, management: str = ""
) -> None:
    """Logs the settings in force, and warns about those that are probably mistakes."""
    configuration = app[CONFIGURATION]
    table = configuration.tables.current.table
    for line in summary(configuration.settings, environ, table, base=base, management=management or base):
        log.info("%s", line)
    app[ROUTE_SOURCES].log(table)
    warnings = warnings_of_settings(settings, environ, environ.names_read)
    for warning in (*warnings, *warnings_of_keys(settings, environ, table)):
        log.warning("%s", warning)
    for note in notes_of_names(environ, environ.names_read):
        log.info("%s", note)


async def _open(runner: Runner, host: str, port: int, certificates: Certificates | None) -> None:
    """Starts the application and opens its port. Raises CannotListen, and whatever startup raises."""
    await runner.setup()
    try:
        await open_port(runner, host, port, certificates)
    except OSError as error:
        raise CannotListen(host, port, error.strerror or str(error)) from error


def runner_of(app: web.Application, on_full: Callable[[], None] | None = None) -> Runner:
    """Creates the runner of ``app`` on the gateway's own server. ``on_full`` is called for each refused connection."""
    settings = app[SETTINGS]
    return Runner(
        app,
        limits_of(settings),
        most=settings.max_connections,
        on_full=on_full,
        arrivals=app[ARRIVALS],
        refuse=refuse_unreadable(app),
        cors_of=cors_headers_of(app),
        detached=app[DETACHED],
        fast_path=app.get(FAST_PATH),
        trusts=lambda peer: peer in app[CONFIGURATION].trusted,
        observer=app[METRICS],
    )


def _full(metrics: Metrics) -> Callable[[], None]:
    """Creates the callback for a refused connection: it counts each one, and logs now and then."""
    logged = -FULL_LOGGED_SECONDS

    def told() -> None:
        nonlocal logged
        metrics.rejected(Overloaded.code)
        if time.monotonic() - logged >= FULL_LOGGED_SECONDS:
            logged = time.monotonic()
            log.warning(
                "turning connections away: MAX_CONNECTIONS is reached, or nearly all file descriptors "
                "are in use (ulimit -n)"
            )

    return told


class CannotListen(GatewayError):
    """The port can't be opened."""

    code = "CANNOT_LISTEN"

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"can't listen on {host} port {port} (SERVER_HOST, SERVER_PORT): {reason}")


def _address(runner: web.BaseRunner, scheme: str) -> str:
    host, port = runner.addresses[0][:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def raise_descriptor_limit() -> None:
    """Raises the limit to as many file descriptors as the system allows without privileges: each stream needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
