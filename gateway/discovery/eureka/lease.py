"""The gateway's own registration: its entry, heartbeats while UP, DOWN while draining, and unregistering."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote

from gateway import __version__
from gateway.background import end_task
from gateway.discovery.eureka.messages import DOWN, UP, InstanceInfo, Pages, registration
from gateway.discovery.eureka.transport import EurekaAway, EurekaResponse, EurekaServer, EurekaServers, pause
from gateway.name_threads import addresses_of
from gateway.settings.model import Settings

_RESOLVE_SECONDS = 2.0
# An address reserved for documentation. The route to it is the default route. Nothing is sent there.
_ANYWHERE = ("192.0.2.1", 9)


async def own(
    settings: Settings, servers: tuple[EurekaServer, ...], port: int, management_port: int | None
) -> InstanceInfo:
    """The gateway's own entry, from the settings and the machine. ``port`` is the port that the gateway listens on,
    ``management_port`` that of ``/actuator`` if it differs.

    Raises OSError while no address of the machine is known.
    """
    listens_on = settings.server_host if _specific(settings.server_host) else None
    name = settings.eureka_instance_hostname
    told = (settings.eureka_instance_ipaddress, listens_on, name)
    address = next((text for text in told if text is not None and _is_address(text)), None)
    address = address or await _address_towards(servers)
    zones = settings.eureka_client_availabilityzones
    metadata = {"version": __version__, **({"zone": zones[0]} if zones else {})}
    filled = {key: _filled(text, address) for key, text in settings.eureka_instance_metadatamap}
    told_port = settings.eureka_instance_nonsecureport or port
    return InstanceInfo(
        (settings.eureka_instance_appname or settings.spring_application_name).lower(),
        address if settings.eureka_instance_preferipaddress else name or listens_on or socket.gethostname(),
        address,
        told_port,
        # With a mapped port, ``/actuator`` is reached at the same port as everything else.
        management_port or told_port,
        metadata | filled,
        settings.eureka_instance_leaserenewalintervalinseconds,
        settings.eureka_instance_leaseexpirationdurationinseconds,
        _filled(settings.eureka_instance_instanceid or "", address) or None,
        settings.eureka_instance_nonsecureportenabled,
        settings.eureka_instance_secureport,
        settings.eureka_instance_secureportenabled,
        Pages(
            settings.eureka_instance_homepageurl or settings.eureka_instance_homepageurlpath,
            settings.eureka_instance_statuspageurl or settings.eureka_instance_statuspageurlpath,
            settings.eureka_instance_healthcheckurl or settings.eureka_instance_healthcheckurlpath,
        ),
    )


def machine(settings: Settings) -> tuple[str, str]:
    """This machine's name and address, for ``${spring.cloud.client.hostname}`` and ``….ip-address``. Makes no DNS
    query."""
    told = (
        settings.eureka_instance_ipaddress,
        settings.server_host if _specific(settings.server_host) else None,
    )
    address = next((text for text in told if text is not None and _is_address(text)), None)
    return socket.gethostname(), address or _address_outwards()


def _address_outwards() -> str:
    """The machine's address on its default route; a loopback address if there is no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _filled(text: str, address: str) -> str:
    """``text`` with those of Spring's placeholders filled that depend on the machine."""
    return text.replace("${spring.cloud.client.ip-address}", address).replace(
        "${spring.cloud.client.hostname}", socket.gethostname()
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _specific(host: str) -> bool:
    """Whether ``host`` is a single address or name, and not a wildcard for all addresses of the machine."""
    return not _is_address(host) or not ip_address(host).is_unspecified


async def _address_towards(servers: tuple[EurekaServer, ...]) -> str:
    """The machine's address on the route to the servers. If they run on this machine, that on the default route."""
    found: str | None = None
    for host, port in (*((server.host, server.port) for server in servers), _ANYWHERE):
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                places = await addresses_of(host)
            if not places:
                continue
            with socket.socket(places[0].family, socket.SOCK_DGRAM) as probe:
                probe.connect((places[0].address, port))
                address: str = probe.getsockname()[0]
        except OSError:
            continue
        if not ip_address(address.partition("%")[0]).is_loopback:
            return address
        found = found or address
    if found is None:
        raise OSError("no way to any Eureka server")
    return found


log = logging.getLogger(__name__)

_DONE: Final = frozenset({200, 204})
_KNOWN_OR_NOT: Final = frozenset({200, 404})


class Lease:
    """The gateway's entry at the servers, renewed with a heartbeat every ``renewal`` seconds.

    ``goodbye_seconds`` is the time limit for each of the two calls at shutdown (DOWN, unregister).
    """

    def __init__(self, servers: EurekaServers, renewal: float, goodbye_seconds: float) -> None:
        self._servers = servers
        self._renewal = renewal
        self._goodbye_seconds = goodbye_seconds
        self._describe: Callable[[], Awaitable[InstanceInfo]] | None = None
        self._own: InstanceInfo | None = None
        self._status = UP
        self._dirty_ms = 0
        self._reported_status: str | None = None
        self._failures = 0
        self._wake = asyncio.Event()
        self._down_tried = asyncio.Event()

    @property
    def registered(self) -> bool:
        """Whether the gateway was registered at the last call."""
        return self._reported_status is not None and not self._failures

    def begin(self, describe: Callable[[], Awaitable[InstanceInfo]]) -> None:
        """Starts registering, without waiting for it. Called when the gateway can answer requests. ``describe`` returns
        the gateway's entry. While it raises OSError, the entry isn't known yet, and ``describe`` is called again."""
        self._describe = describe
        self._wake.set()

    async def down(self) -> None:
        """Sets the status DOWN, so that clients send no more requests here. Returns after the first attempt, or after
        ``goodbye_seconds``."""
        if self._describe is None:
            return
        self._status = DOWN
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._goodbye_seconds):
                await self._down_tried.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps the entry alive until the block ends, then unregisters."""
        task = asyncio.create_task(self._for_ever(), name="eureka lease")
        try:
            yield
        finally:
            await end_task(task)
            await self._leave()

    async def _for_ever(self) -> None:
        await self._wake.wait()
        while True:
            self._wake.clear()
            status = self._status
            try:
                await self._say(status)
                self._failures = 0
            except EurekaAway:
                self._failures += 1
            except Exception:
                self._failures += 1
                log.exception("registering with Eureka went wrong")
            if status == DOWN:
                self._down_tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause(self._renewal, self._failures)):
                    await self._wake.wait()

    async def _say(self, status: str) -> None:
        """Sends a heartbeat. Registers instead if the status has changed or the server does not know this gateway."""
        if self._own is None:
            self._own = await self._who()
        if self._reported_status == status:
            path = f"{_path(self._own)}?status={status}&lastDirtyTimestamp={self._dirty_ms}"
            said: EurekaResponse[None] = await self._servers.ask("heartbeat", "PUT", path, _KNOWN_OR_NOT)
            if said.status == 200:
                return
            log.info("Eureka at %s does not know this gateway: registering again", said.server.url)
        # Eureka servers keep the entry with the later time.
        self._dirty_ms = max(self._dirty_ms + 1, int(time.time() * 1000))
        body = registration(self._own, status, self._dirty_ms)
        said = await self._servers.ask(
            "register", "POST", f"apps/{quote(self._own.app.upper())}", _DONE, body=body
        )
        if self._reported_status is None:
            log.info("registered with Eureka at %s as %s", said.server.url, self._own.id)
        self._reported_status = status

    async def _who(self) -> InstanceInfo:
        assert self._describe is not None  # noqa: S101 - nothing is said before begin()
        try:
            return await self._describe()
        except OSError as error:
            log.debug("the address others reach this machine at is not known yet: %s", type(error).__name__)
            raise EurekaAway from error

    async def _leave(self) -> None:
        # Also after a registration without a response: the server may have accepted it.
        if self._own is None or not self._dirty_ms:
            return
        try:
            async with asyncio.timeout(self._goodbye_seconds):
                await self._servers.ask("unregister", "DELETE", _path(self._own), _KNOWN_OR_NOT)
        except (EurekaAway, TimeoutError):
            log.info("not unregistered from Eureka: the lease will end by itself")


def _path(own: InstanceInfo) -> str:
    return f"apps/{quote(own.app.upper())}/{quote(own.id, safe='')}"
