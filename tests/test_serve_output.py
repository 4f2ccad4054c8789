"""A gateway whose standard output is closed, full, or read by nobody serves on, and ends in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cli.main import main

ROUTES = "routes: []\n"


async def stopped(
    tmp_path: Path, redis_url: str, how: str, *, stdout: int = subprocess.DEVNULL
) -> tuple[int, str, float]:
    """Starts a gateway with ``how`` for a redirection and stops it once it is up. Returns its exit status, what it says
    on standard error, and the seconds that the stop took."""
    (tmp_path / "routes.yaml").write_text(ROUTES)
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": "http://127.0.0.1:1/keys",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "SHUTDOWN_GRACE_SECONDS": "20",
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(environ["NOTIFY_SOCKET"])
        notified.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "gateway", "serve"),
            env=environ,
            cwd=tmp_path,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(20):
                while b"READY=1" not in await asyncio.get_running_loop().sock_recv(notified, 1000):
                    pass
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                _, said = await process.communicate()
            return process.returncode or 0, said.decode(), time.monotonic() - began
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize("how", [">&-", ">/dev/full"], ids=["closed", "full"])
async def test_an_output_that_takes_nothing_is_no_fault(tmp_path: Path, redis_url: str, how: str) -> None:
    status, said, _ = await stopped(tmp_path, redis_url, how)
    assert (status, said) == (0, "")


async def test_an_output_without_a_reader_holds_up_no_stop(tmp_path: Path, redis_url: str) -> None:
    reader, end = os.pipe()
    try:
        os.set_blocking(end, False)
        try:
            while True:
                os.write(end, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(end, True)
        status, said, seconds = await stopped(tmp_path, redis_url, "", stdout=end)
        assert (status, said) == (0, "")
        assert seconds < 10
    finally:
        os.close(reader)
        os.close(end)


@pytest.mark.parametrize("command", [("--version",), ("routes",)], ids=" ".join)
@pytest.mark.parametrize(("how", "status"), [(">&-", 0), (">/dev/full", 1)], ids=["closed", "full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_commands_say_that_their_output_was_lost(
    tmp_path: Path, command: tuple[str, ...], how: str, status: int, unbuffered: str
) -> None:
    if unbuffered and command != ("routes",):
        status = 0  # argparse looks away
    (tmp_path / "routes.yaml").write_text(ROUTES)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "gateway", *command],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": unbuffered},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert ("could not be written: No space left on device" in done.stderr) is bool(status)


def test_a_command_without_any_output_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert main(["check", "nowhere.yaml"], {}) == 1
