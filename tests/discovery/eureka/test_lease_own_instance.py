"""What others are told of where this gateway is."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gateway import __version__
from gateway.discovery.eureka.lease import own
from gateway.discovery.eureka.transport import EurekaServer
from gateway.settings.model import Settings

HERE = (EurekaServer.parse("http://127.0.0.1:8761/eureka/"),)

CASES: list[tuple[dict[str, str], str | None, str | None]] = [
    ({"SERVER_HOST": "127.0.0.1"}, "127.0.0.1", "127.0.0.1"),
    ({"SERVER_HOST": "::1"}, "::1", "::1"),
    ({"SERVER_HOST": "10.0.0.9", "EUREKA_INSTANCE_HOSTNAME": "gw.internal"}, "gw.internal", "10.0.0.9"),
    ({"SERVER_HOST": "10.0.0.9", "EUREKA_INSTANCE_PREFERIPADDRESS": "true"}, "10.0.0.9", "10.0.0.9"),
    ({"EUREKA_INSTANCE_HOSTNAME": "10.0.0.7"}, "10.0.0.7", "10.0.0.7"),
    ({"EUREKA_INSTANCE_HOSTNAME": "gw.internal"}, "gw.internal", None),
    ({}, socket.gethostname(), None),
    ({"SERVER_HOST": "::"}, socket.gethostname(), None),
    ({"EUREKA_INSTANCE_HOSTNAME": "gw", "EUREKA_INSTANCE_PREFERIPADDRESS": "true"}, None, None),
]


@pytest.mark.parametrize(("environ", "host", "address"), CASES)
async def test_host_and_address(environ: dict[str, str], host: str | None, address: str | None) -> None:
    found = await own(Settings.from_env(environ), HERE, 8080, None)
    assert found.host == (host or found.address)
    if address is not None:
        assert found.address == address
    # Whatever it is, it is this machine's: one can listen there.
    elif found.address:
        family = socket.AF_INET6 if ":" in found.address else socket.AF_INET
        with socket.socket(family) as listening:
            listening.bind((found.address, 0))


async def test_ports_metadata_and_zone() -> None:
    environ = {
        "SERVER_HOST": "127.0.0.1",
        "SPRING_APPLICATION_NAME": "Edge",
        "EUREKA_CLIENT_AVAILABILITYZONES": "seoul-a,seoul-b",
        "EUREKA_INSTANCE_METADATAMAP": "team=tickets",
        "EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS": "5",
    }
    found = await own(Settings.from_env(environ), HERE, 8080, 9090)
    assert (found.app, found.port, found.management_port, found.renewal) == ("edge", 8080, 9090, 5)
    assert found.metadata == {"version": __version__, "zone": "seoul-a", "team": "tickets"}
    assert (await own(Settings.from_env(environ), HERE, 8080, None)).management_port == 8080


async def test_what_springs_settings_say_is_told() -> None:
    environ = {
        "SERVER_HOST": "127.0.0.1",
        "EUREKA_INSTANCE_IP_ADDRESS": "10.1.2.3",
        "EUREKA_INSTANCE_PREFER_IP_ADDRESS": "true",
        "EUREKA_INSTANCE_APPNAME": "Edge",
        "EUREKA_INSTANCE_INSTANCE_ID": "${spring.cloud.client.hostname}:${spring.application.name}:${server.port}",
        "EUREKA_INSTANCE_NON_SECURE_PORT": "80",
        "EUREKA_INSTANCE_SECURE_PORT": "8443",
        "EUREKA_INSTANCE_SECURE_PORT_ENABLED": "true",
        "EUREKA_INSTANCE_NON_SECURE_PORT_ENABLED": "false",
        "EUREKA_INSTANCE_LEASE_EXPIRATION_DURATION_IN_SECONDS": "15",
        "EUREKA_INSTANCE_STATUS_PAGE_URL_PATH": "/status",
        "EUREKA_INSTANCE_HEALTH_CHECK_URL": "https://gw.example.com/health",
        "EUREKA_INSTANCE_METADATAMAP_PLACE": "at ${spring.cloud.client.ip-address}",
    }
    found = await own(Settings.from_env(environ), HERE, 8080, None)
    assert (found.app, found.host, found.address) == ("edge", "10.1.2.3", "10.1.2.3")
    assert found.id == f"{socket.gethostname()}:gateway-server:8080"
    assert (found.port, found.plain, found.secure_port, found.secure) == (80, False, 8443, True)
    assert (found.management_port, found.expiry) == (80, 15)
    assert found.pages == ("/", "/status", "https://gw.example.com/health")
    assert found.metadata["place"] == "at 10.1.2.3"


async def test_metadata_of_the_settings_wins() -> None:
    environ = {"EUREKA_INSTANCE_METADATAMAP": "zone=b", "EUREKA_CLIENT_AVAILABILITYZONES": "a"}
    found = await own(Settings.from_env(environ), HERE, 8080, None)
    assert found.metadata["zone"] == "b"


async def test_without_any_network_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_way(*_: Any) -> None:
        raise OSError("network unreachable")

    class Nowhere(socket.socket):
        connect = no_way

    monkeypatch.setattr(socket, "socket", Nowhere)
    with pytest.raises(OSError, match="no way"):
        await own(Settings(), HERE, 8080, None)
