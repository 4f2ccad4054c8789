"""Who this gateway is in the eyes of others."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from gateway import __version__
from gateway.proxy.eureka.servers import Server
from gateway.proxy.eureka.wire import Own, Pages
from gateway.settings import Settings

_RESOLVE_SECONDS = 2.0
# An address for documentation: the way there is the way to everybody. Nothing is sent.
_ANYWHERE = ("192.0.2.1", 9)


async def own(settings: Settings, servers: tuple[Server, ...], port: int, management_port: int | None) -> Own:
    """Puts together what the settings say and what the machine knows. ``port`` is the one listened on,
    ``management_port`` that of ``/actuator`` if it is another.

    Raises OSError while there is no address to tell.
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
    return Own(
        (settings.eureka_instance_appname or settings.spring_application_name).lower(),
        address if settings.eureka_instance_preferipaddress else name or listens_on or socket.gethostname(),
        address,
        told_port,
        # Behind a port that is mapped, ``/actuator`` is where everything else is.
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
    """This machine's name and address, as ``${spring.cloud.client.hostname}`` and ``….ip-address`` have them, without
    asking a resolver."""
    told = (
        settings.eureka_instance_ipaddress,
        settings.server_host if _specific(settings.server_host) else None,
    )
    address = next((text for text in told if text is not None and _is_address(text)), None)
    return socket.gethostname(), address or _address_outwards()


def _address_outwards() -> str:
    """The machine's address on the way to anywhere; that of itself if there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _filled(text: str, address: str) -> str:
    """``text`` with what of Spring's placeholders only the machine knows."""
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
    """Whether ``host`` stands for one place, not for all addresses of the machine."""
    return not _is_address(host) or not ip_address(host).is_unspecified


async def _address_towards(servers: tuple[Server, ...]) -> str:
    """The machine's address on the way to the servers; if they are on this machine, on the way to anywhere else."""
    found: str | None = None
    for host, port in (*((server.host, server.port) for server in servers), _ANYWHERE):
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                places = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, kind, _, _, place = places[0]
            with socket.socket(family, kind) as probe:
                probe.connect(place)
                address: str = probe.getsockname()[0]
        except OSError:
            continue
        if not ip_address(address.partition("%")[0]).is_loopback:
            return address
        found = found or address
    if found is None:
        raise OSError("no way to any Eureka server")
    return found
