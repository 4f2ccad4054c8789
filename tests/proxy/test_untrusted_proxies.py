"""A proxy nearby that is not believed is told of once; clients of the internet never."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest

from gateway.proxy.forwarded import TrustedProxies
from gateway.proxy.untrusted_proxies import FORWARDING_HEADERS, UntrustedProxies, private_network
from tests.support.gateway import Gateways

LOGGER = "gateway.proxy.untrusted_proxies"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("172.31.0.9", "172.16.0.0/12"),
        ("192.168.1.1", "192.168.0.0/16"),
        ("100.64.7.7", "100.64.0.0/10"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("fd12::1", "fc00::/7"),
        ("fe80::1%eth0", "fe80::/10"),
        ("::1", "::1/128"),
        ("172.32.0.1", None),
        ("8.8.8.8", None),
        ("203.0.113.9", None),
        ("2001:db8::1", None),
        ("2606:4700::1", None),
        ("", None),
        ("unix", None),
    ],
)
def test_only_private_networks_are_nearby(address: str, network: str | None) -> None:
    assert private_network(address) == (None if network is None else ip_network(network))


@pytest.mark.parametrize("header", FORWARDING_HEADERS)
def test_one_line_names_the_setting_the_peer_and_its_network(
    header: str, caplog: pytest.LogCaptureFixture
) -> None:
    untrusted = UntrustedProxies()
    untrusted.check("10.1.2.3", {"Host": "a"}, TrustedProxies())
    assert (said(caplog), untrusted.active) == ([], True)
    untrusted.check("10.1.2.3", {header: "203.0.113.9"}, TrustedProxies())
    (line,) = said(caplog)
    for part in ("10.1.2.3 (private network 10.0.0.0/8)", header, "TRUSTED_PROXIES=10.1.2.3"):
        assert part in line
    # What the peer says is no part of it.
    assert "203.0.113.9" not in line
    assert caplog.records[0].levelno == logging.WARNING
    assert not untrusted.active


@pytest.mark.parametrize(
    ("peer", "trusted"), [("203.0.113.9", ()), ("10.1.2.3", (ip_network("10.0.0.0/8"),))]
)
def test_nothing_is_said_of_the_internet_and_of_trusted_proxies(
    peer: str, trusted: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    untrusted = UntrustedProxies()
    untrusted.check(peer, {"X-Forwarded-For": "192.0.2.1"}, TrustedProxies(trusted))  # type: ignore[arg-type]
    assert (said(caplog), untrusted.active) == ([], True)


async def test_a_gateway_says_it_once_whatever_comes(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await gateways.start()
    assert (await gateway.nobody("GET", "/api/v1/products")).status == 200
    assert said(caplog) == []
    for number in range(5):
        headers = {"x-forwarded-for": f"192.0.2.{number}", "Forwarded": "for=192.0.2.1"}
        assert (await gateway.nobody("GET", "/api/v1/products", headers=headers)).status == 200
    (line,) = said(caplog)
    assert "127.0.0.1 (private network 127.0.0.0/8) sends X-Forwarded-For and Forwarded" in line


async def test_a_proxy_that_sends_x_real_ip_alone_is_told_of(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await gateways.start()
    headers = {"x-real-ip": "192.0.2.1"}
    assert (await gateway.nobody("GET", "/api/v1/products", headers=headers)).status == 200
    (line,) = said(caplog)
    assert "127.0.0.1 (private network 127.0.0.0/8) sends X-Real-IP, which is not believed" in line


async def test_a_gateway_that_trusts_it_says_nothing(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await gateways.start(trusted_proxies="127.0.0.0/8")
    headers = {"X-Forwarded-For": "192.0.2.1"}
    assert (await gateway.nobody("GET", "/api/v1/products", headers=headers)).status == 200
    assert said(caplog) == []
