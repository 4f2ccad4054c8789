"""Config Servers in a registry: their addresses, and what their metadata say."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.discovery.eureka.client import config_servers
from gateway.discovery.eureka.messages import MAX_CONFIG_SERVERS, BadRegistry, parse_config_servers
from gateway.discovery.eureka.transport import EurekaAway, EurekaServers, session
from gateway.observability.metrics import NoMetrics
from tests.support.effort import least_seconds
from tests.support.eureka import entry, fake_eureka, listing

NAMES = ("configserver", "config-server")


def server(id_: str = "a", app: str = "CONFIGSERVER", **changes: Any) -> dict[str, Any]:
    return entry(id_, app, **changes)


def found(*entries: dict[str, Any], names: tuple[str, ...] = NAMES) -> tuple[str, ...]:
    return parse_config_servers(listing(*entries), names)


def with_metadata(**metadata: Any) -> tuple[str, ...]:
    return found(server(metadata=metadata))


def test_the_instances_that_are_up_are_found_in_a_fixed_order() -> None:
    down = server("c", status="DOWN")
    entries = [server("b"), server("a"), down, entry("d", "ORDERS"), server("e", hostName="!", ipAddr="")]
    wanted = ("http://a.internal:8080", "http://b.internal:8080")
    assert found(*entries) == found(*reversed(entries)) == wanted


def test_the_first_name_with_an_instance_counts_whatever_its_case() -> None:
    both = [server("a"), server("b", "CONFIG-SERVER")]
    assert found(*both) == ("http://a.internal:8080",)
    assert found(*both, names=("Config-Server",)) == ("http://b.internal:8080",)
    assert found(both[1]) == ("http://b.internal:8080",)
    assert found(server("a", status="DOWN"), both[1]) == ("http://b.internal:8080",)
    assert found(server("a", vipAddress="other,Configs"), names=("configs",)) == ("http://a.internal:8080",)
    assert found(both[0], names=("nobody",)) == ()


def test_the_secure_port_counts_before_the_plain_one() -> None:
    secure = {"$": 8443, "@enabled": "true"}
    assert found(server(securePort=secure)) == ("https://a.internal:8443",)
    assert found(server(securePort=secure, port={"$": 80, "@enabled": "false"})) == (
        "https://a.internal:8443",
    )


@pytest.mark.parametrize(
    ("metadata", "address"),
    [
        ({}, "http://a.internal:8080"),
        ({"configPath": "/config"}, "http://a.internal:8080/config"),
        ({"configPath": "config/v1.2/"}, "http://a.internal:8080/config/v1.2"),
        ({"configPath": "/"}, "http://a.internal:8080"),
        ({"configPath": "", "password": ""}, "http://a.internal:8080"),
        ({"user": "ann", "password": "p:@/ä%"}, "http://ann:p%3A%40%2F%C3%A4%25@a.internal:8080"),
        ({"password": "secret"}, "http://user:secret@a.internal:8080"),
        ({"user": "ann"}, "http://a.internal:8080"),
        ({"user": "a", "password": "b", "configPath": "c"}, "http://a:b@a.internal:8080/c"),
        ({"configpath": "/other", "zone": "a"}, "http://a.internal:8080"),
        ({"configPath": 5}, "http://a.internal:8080"),
        ("text", "http://a.internal:8080"),
    ],
)
def test_metadata_say_the_path_and_who_may_ask(metadata: Any, address: str) -> None:
    assert found(server(metadata=metadata)) == (address,)


@pytest.mark.parametrize(
    "metadata",
    [
        {"configPath": "@evil.example/"},
        {"configPath": "//evil.example"},
        {"configPath": "/../admin"},
        {"configPath": "/a/./b"},
        {"configPath": "/a?b"},
        {"configPath": "/a#b"},
        {"configPath": "/a b"},
        {"configPath": "/a\r\nX: y"},
        {"configPath": "/%2e%2e"},
        {"configPath": "a/" * 2000},
        {"configPath": "a" * 5000 + "!"},
        {"password": "a\r\nb"},
        {"password": "a" * 1001},
        {"user": "\x00", "password": "b"},
        {"user": "a", "password": "\ud800"},
    ],
)
def test_metadata_that_cannot_be_used_leave_an_instance_out(metadata: dict[str, str]) -> None:
    assert with_metadata(**metadata) == ()
    assert least_seconds(lambda: with_metadata(**metadata), 0.5) < 0.5


def test_there_are_no_more_than_can_be_tried() -> None:
    assert len(found(*(server(f"a{at}") for at in range(100)))) == MAX_CONFIG_SERVERS


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"applications": 1}', b"[" * 100_000])
def test_what_is_no_registry_is_refused(answer: bytes) -> None:
    with pytest.raises(BadRegistry):
        parse_config_servers(answer, NAMES)


async def test_eureka_is_asked_for_them() -> None:
    async with fake_eureka() as eureka, session() as connections:
        servers = EurekaServers(connections, (eureka.url,), NoMetrics())
        assert await config_servers(servers, NAMES) == ()
        eureka.register(server())
        assert await config_servers(servers, NAMES) == ("http://a.internal:8080",)
        assert eureka.requests == ["GET /apps"] * 2
        eureka.answers["GET /apps"] = (200, b"{}")
        with pytest.raises(EurekaAway):
            await config_servers(servers, NAMES)
