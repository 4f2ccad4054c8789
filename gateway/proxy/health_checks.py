"""Checks the health of services' instances, and tells the load balancer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Final
from weakref import WeakValueDictionary

from gateway.errors import UpstreamError
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.load_balancer import Instances
from gateway.proxy.pool import ConnectFailed, UpstreamPool
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import HealthPolicy
from gateway.service_tls import ServiceTls

_log = logging.getLogger(__name__)

HEALTHY: Final = range(200, 400)
"""The statuses of a healthy instance."""

_AT_A_TIME: Final = 64
"""Of one service. A service whose instances hang must not hold up the checks of another one."""
# Many gateways that start or reload together ask at different times.
_SPREAD: Final = 0.1
_LONGEST_FIRST_WAIT: Final = 1.0
_MAX_INTERIM_HEADS: Final = 16
# A longer answer is not read to its end: a page for people, say.
_MAX_BODY_BYTES: Final = 64 * 1024

_Subject = tuple[str, UpstreamBase]
"""A service, and one of its instances."""


class HealthChecks:
    """Checks all instances of the services that ask for it; one task for each instance, so that a slow one delays no
    other. ``on_check`` is told of each check: the service, and whether it passed. ``tls_of``: how a service is called
    over TLS; None: as the system's certificates say."""

    def __init__(
        self,
        instances: Instances,
        on_check: Callable[[str, bool], None] = lambda service, passed: None,
        tls_of: Callable[[str], ServiceTls | None] = lambda service: None,
    ) -> None:
        self._tls_of = tls_of
        self._instances = instances
        self._on_check = on_check
        self._tasks: dict[_Subject, tuple[HealthPolicy, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """By service; there are those that a task holds."""
        self._ended = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Checks until the block ends."""
        # Without idle connections: each check shows that the instance takes a new one. And the requests under way at
        # instances, which the load balancer counts, are those of clients.
        async with UpstreamPool(idle=0.0) as self._pool:
            self._instances.on_change(self._follow)
            self._follow()
            try:
                yield
            finally:
                # A name that is looked up meanwhile begins no further checks.
                self._ended = True
                tasks = {*self._ending, *(task for _, task in self._tasks.values())}
                for task in tasks:
                    task.cancel()
                # All of them end before the first error is raised.
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(result, Exception):
                        raise result

    def _follow(self) -> None:
        """Begins and ends tasks, as the services and their instances have changed."""
        if self._ended:
            return
        wanted = {
            (service, base): balancer.policy.health
            for service, balancer in self._instances.balancers().items()
            if balancer.policy.health is not None
            for base in self._instances.known(service)
        }
        for subject, (policy, task) in list(self._tasks.items()):
            if wanted.get(subject) != policy:
                del self._tasks[subject]
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for subject, health in wanted.items():
            if subject not in self._tasks and health is not None:
                service, base = subject
                task = asyncio.create_task(
                    self._watch(service, base, health), name=f"health checks of {service}"
                )
                self._tasks[subject] = health, task

    async def _watch(self, service: str, base: UpstreamBase, policy: HealthPolicy) -> None:
        loop = asyncio.get_running_loop()
        turns = self._turns.get(service)
        if turns is None:
            turns = self._turns[service] = asyncio.Semaphore(_AT_A_TIME)
        await asyncio.sleep(min(policy.interval, _LONGEST_FIRST_WAIT) * random.uniform(0, _SPREAD))
        while True:
            async with turns:
                began = loop.time()
                try:
                    problem: str | None = await self._problem(service, base, policy)
                except Exception as error:
                    # An unexpected error must not end the checks of an instance.
                    _log.exception("a health check of %s failed", base)
                    problem = type(error).__name__
            if problem is not None:
                self._on_check(service, not problem)
                self._instances.checked(service, base, problem)
            due = began + policy.interval * random.uniform(1 - _SPREAD, 1 + _SPREAD)
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _problem(self, service: str, base: UpstreamBase, policy: HealthPolicy) -> str | None:
        """Why the instance is unhealthy; empty if it is healthy. None if this machine is at fault, as without free file
        descriptors."""
        try:
            async with asyncio.timeout(policy.timeout):
                status = await self._ask(service, base, policy)
        except TimeoutError:
            return f"no whole answer within {policy.timeout:g} s"
        except ConnectFailed as error:
            return f"no connection ({error.error})" if error.instance_failed else None
        except UpstreamError as error:
            return f"no sound answer ({error})"
        return "" if status in HEALTHY else f"status {status}"

    async def _ask(self, service: str, base: UpstreamBase, policy: HealthPolicy) -> int:
        """The status of the answer, whose body has arrived as well."""
        connection = await self._pool.connect(base, policy.timeout, fresh=True, tls=self._tls_of(service))
        try:
            connection.begin(_request(base, policy.path), body_follows=True)
            for _ in range(_MAX_INTERIM_HEADS):
                message = await connection.read_head()
                if message.code >= 200 or message.code < 100:
                    await _read_body(connection)
                    return message.code
            return 100
        finally:
            connection.close()


def _request(base: UpstreamBase, path: str) -> bytes:
    """The request of a check. It says nothing about any user, and belongs to no trace."""
    return (
        b"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: gateway-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        % (path.encode("ascii"), base.authority)
    )


async def _read_body(connection: UpstreamConnection) -> None:
    """Reads the body to its end, or a good part of a long one. Raises UpstreamUnreachable if it breaks off."""
    size = 0
    while size < _MAX_BODY_BYTES and (piece := await connection.read()):
        size += len(piece)
