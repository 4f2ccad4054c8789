"""Failed handshakes are counted by reason: real clients that are too old, that don't accept the certificate, or that go
on the way; and the errors that OpenSSL reports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.context import OBSERVERS
from gateway.server.certificates import Certificates
from gateway.server.handshake_failures import REASONS, reason_of
from gateway.server.listener import Runner, open_port
from tests.support.certificate_files import pair_for, trusting
from tests.support.gateway import Gateways, Running
from tests.support.waiting import eventually

ONE, OTHER = pair_for("one"), pair_for("other")
Connect = Callable[[int], Awaitable[None]]


@pytest.fixture
async def secure(gateways: Gateways, tmp_path: Path) -> tuple[Running, int]:
    """A gateway that trusts its peers, and its port over TLS."""
    gateway = await gateways.start(trusted_proxies="127.0.0.0/8", request_head_timeout_seconds=1)
    assert isinstance(gateway.runner, Runner)
    await open_port(gateway.runner, "127.0.0.1", 0, Certificates(*ONE.write(tmp_path)))
    [port] = {address[1] for address in gateway.runner.addresses} - {int(gateway.base.rpartition(":")[2])}
    return gateway, port


def failed(gateway: Running) -> dict[str, float]:
    """How many handshakes failed, by reason."""
    registry = gateway.app[OBSERVERS].metrics.registry
    counts = {
        reason: registry.get_sample_value("gateway_tls_handshakes_failed_total", {"reason": reason})
        for reason in REASONS
    }
    return {reason: count for reason, count in counts.items() if count}


def refused_headers(gateway: Running) -> float:
    registry = gateway.app[OBSERVERS].metrics.registry
    return registry.get_sample_value("gateway_proxy_headers_refused_total") or 0.0


def with_tls(context: ssl.SSLContext, name: str = "localhost") -> Connect:
    """A client that blocks. Those of asyncio close the connection without saying why."""

    def shake_hands(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(plain, server_hostname=name)

    return lambda port: asyncio.to_thread(shake_hands, port)


def sending(data: bytes, *, stay: bool = False) -> Connect:
    async def connect(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        if stay:
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
        writer.close()

    return connect


def too_old() -> ssl.SSLContext:
    context = trusting(ONE)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def other_cipher() -> ssl.SSLContext:
    """Speaks TLS 1.2 with certificates of RSA alone; the gateway's is of an elliptic curve."""
    context = trusting(ONE)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    return context


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 40

CLIENTS: list[tuple[str, Callable[[], Connect]]] = [
    ("plain_text", lambda: sending(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", stay=True)),
    ("version", lambda: with_tls(too_old())),
    ("cipher", lambda: with_tls(other_cipher())),
    ("certificate", lambda: with_tls(trusting(OTHER))),
    ("certificate", lambda: with_tls(trusting(ONE), "elsewhere.test")),
    ("timeout", lambda: sending(b"", stay=True)),
    ("timeout", lambda: sending(HELLO, stay=True)),
    ("closed", lambda: sending(HELLO)),
]


@pytest.mark.parametrize(("reason", "client"), CLIENTS)
async def test_a_failed_handshake_is_counted_by_its_reason(
    secure: tuple[Running, int], reason: str, client: Callable[[], Connect]
) -> None:
    gateway, port = secure
    assert failed(gateway) == {}
    await client()(port)
    await eventually(lambda: failed(gateway), what="a count")
    assert failed(gateway) == {reason: 1}


async def test_neither_a_handshake_that_succeeds_nor_a_look_at_the_port_is_counted(
    secure: tuple[Running, int],
) -> None:
    gateway, port = secure
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting(ONE), server_hostname="localhost"
        )
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"traceId" in await reader.read()
        writer.close()
    assert failed(gateway) == {}
    assert refused_headers(gateway) == 0


@pytest.mark.parametrize("data", [b"PROXY nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\xff\0\0"])
async def test_a_malformed_header_of_a_proxy_is_counted_on_each_port(
    secure: tuple[Running, int], data: bytes
) -> None:
    gateway, port = secure
    for count, each in enumerate((port, int(gateway.base.rpartition(":")[2])), 1):
        await sending(data, stay=True)(each)
        await eventually(lambda count=count: refused_headers(gateway) == count, what="a count")
    assert failed(gateway) == {}


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ssl_error("UNSUPPORTED_PROTOCOL"), "version"),
        (ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), "version"),
        (ssl_error("WRONG_VERSION_NUMBER"), "version"),
        (ssl_error("NO_SHARED_CIPHER"), "cipher"),
        (ssl_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), "cipher"),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), "certificate"),
        (ssl_error("SSLV3_ALERT_BAD_CERTIFICATE"), "certificate"),
        (ssl_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "certificate"),
        (ssl_error("UNEXPECTED_EOF_WHILE_READING"), "closed"),
        (ssl_error("BAD_EXTENSION"), "other"),
        (ssl.SSLError(), "other"),
        (ConnectionResetError(104, "reset"), "closed"),
        (BrokenPipeError(32, "pipe"), "closed"),
        (ConnectionAbortedError("SSL handshake is taking longer than 1 seconds"), "timeout"),
        (TimeoutError(), "timeout"),
        (OSError(24, "files"), "other"),
    ],
)
def test_each_error_stands_for_one_reason(error: OSError, reason: str) -> None:
    assert reason_of(error) == reason
