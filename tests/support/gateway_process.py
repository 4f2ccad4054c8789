"""Gateways as processes of their own, to be killed, stopped and drained."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support import preloaded

_LISTENING = re.compile(r"listening on (http://[^\s\"]+)")
_READ_AT_START = re.compile(r"PYTHON(?!UNBUFFERED$)|AIOHTTP_|SSL_CERT|LD_|MALLOC_|LC_|LANG|TZ$")
"""Variables that count when a process starts or imports, so not for one that has done so already."""


class GatewayProcess:
    """One running ``gateway serve``. Its log is kept in ``lines``."""

    def __init__(self, process: asyncio.subprocess.Process | preloaded.ForkedProcess) -> None:
        self.process = process
        self.base = ""
        self.lines: list[str] = []
        self._ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            if found := _LISTENING.search(line):
                self.base = found[1]
                self._ready.set()
        self._ready.set()

    async def ready(self, seconds: float = 20.0) -> None:
        """Waits for the port; a gateway that ends instead fails the test with its log."""
        async with asyncio.timeout(seconds):
            await self._ready.wait()
        assert self.base, "\n".join(self.lines)

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to this process."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self, seconds: float = 20.0) -> int:
        """Waits for the end; its exit status."""
        async with asyncio.timeout(seconds):
            status = await self.process.wait()
            await self._reader
        return status


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limited_files(count: int) -> tuple[str, ...]:
    """A prefix that lets a process, whatever it asks for, have so many files open."""
    return ("sh", "-c", f'ulimit -n {count} && exec "$@"', "sh")


@asynccontextmanager
async def gateway_process(
    environ: Mapping[str, str],
    folder: Path,
    *,
    wait: bool = True,
    prefix: Sequence[str] = (),
    bare: bool = False,
) -> AsyncIterator[GatewayProcess]:
    """Runs a gateway on a free loopback port with nothing of the machine's settings in its environment.

    ``prefix`` is a command that executes the one behind it; ``limited_files`` makes one. With ``bare`` it gets
    ``environ`` and nothing of what is usual in tests. With either, it is started as a shell does it; see ``preloaded``
    for all others.
    """
    needed = {"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1"}
    usual = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "SPRING_CONFIG_IMPORT": "",
        "DEFAULT_LOCALE": "en",
        "SHUTDOWN_GRACE_SECONDS": "5",
        # A busy machine must not be taken for a crowd.
        "OVERLOAD_LAG_MS": "0",
    }
    wanted = needed | ({} if bare else usual) | dict(environ)
    process: asyncio.subprocess.Process | preloaded.ForkedProcess
    if preloaded.available and not prefix and not bare and not any(map(_READ_AT_START.match, wanted)):
        process = await preloaded.start(wanted, folder)
    else:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *(sys.executable, "-W", "error", "-m", "gateway", "serve"),
            env=wanted,
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    running = GatewayProcess(process)
    try:
        if wait:
            await running.ready()
        yield running
    finally:
        running.send(signal.SIGCONT)
        running.send(signal.SIGTERM)
        try:
            await running.ended(10.0)
        except TimeoutError:
            running.send(signal.SIGKILL)
            await running.ended(5.0)
