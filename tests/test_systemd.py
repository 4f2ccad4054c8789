"""What a gateway tells systemd: against a real notification socket, as systemd opens one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.systemd import Notifier
from tests.support.gateway_process import gateway_process


class Systemd:
    """The other end: a datagram socket and what came to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    async def heard(self, seconds: float = 15.0) -> str:
        """The next datagram. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    async def until(self, line: str) -> list[str]:
        """Everything up to ``line``, inclusive."""
        heard = [await self.heard()]
        while heard[-1] != line:
            heard.append(await self.heard())
        return heard

    async def silence(self, seconds: float) -> None:
        """Waits until nothing came for so long."""
        with suppress(TimeoutError):
            while True:
                await self.heard(seconds)

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def systemd(address: str) -> AsyncIterator[Systemd]:
    one = Systemd(address)
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x"}, 0.0),
        ({"WATCHDOG_USEC": "4000000"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "4000000"}, 2.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "9" * 5000}, 60.0),
        ({"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "4000000"}, 0.0),
    ],
)
def test_signs_of_life_come_twice_in_the_time_that_systemd_waits(
    environ: Mapping[str, str], interval: float
) -> None:
    assert Notifier.from_env(environ).interval_seconds == interval


@pytest.mark.parametrize("kind", ["file", "abstract"])
async def test_what_is_sent_arrives(tmp_path: Path, kind: str) -> None:
    address = (
        str(tmp_path / "notify") if kind == "file" else f"@waiting-room-test-{os.getpid()}-{tmp_path.name}"
    )
    async with systemd(address) as other:
        Notifier(address).send("READY=1", "STATUS=fine")
        assert await other.heard() == "READY=1\nSTATUS=fine"


async def test_a_socket_that_is_gone_or_full_stops_nothing(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).send("READY=1")
    async with systemd(str(tmp_path / "notify")) as other:
        for _ in range(10_000):  # more than any socket holds
            Notifier(other.address).send("READY=1")


async def test_a_gateway_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    async with systemd(str(tmp_path / "notify")) as other:
        environ = {
            "REDIS_URL": f"unix://{tmp_path}/nobody.sock",
            "NOTIFY_SOCKET": other.address,
            "WATCHDOG_USEC": "400000",
        }
        async with gateway_process(environ, tmp_path) as gateway:
            await other.until("READY=1")
            assert [await other.heard() for _ in range(3)] == ["WATCHDOG=1"] * 3
            # A process that hangs is silent, which is what systemd waits for.
            gateway.send(signal.SIGSTOP)
            await other.silence(seconds=1.0)
            gateway.send(signal.SIGCONT)
            gateway.send(signal.SIGTERM)
            await other.until("STOPPING=1")
            assert await gateway.ended() == 0


async def test_a_gateway_that_can_not_start_is_never_ready(tmp_path: Path) -> None:
    async with systemd(str(tmp_path / "notify")) as other:
        environ = {
            "NOTIFY_SOCKET": other.address,
            "REDIS_URL": "unix:///nobody.sock",
            "SERVER_HOST": "192.0.2.1",
        }
        async with gateway_process(environ, tmp_path, wait=False) as gateway:
            assert await gateway.ended() == 1
        with pytest.raises(TimeoutError):
            await other.heard(seconds=0.1)
