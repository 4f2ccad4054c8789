"""Processes that are measured: started pinned to cores, watched through /proc, ended with whoever started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

START_SECONDS = 30.0
STOP_SECONDS = 20.0
# Of the surrounding environment only what a process needs to run at all.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """Something can't be measured here; the text says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where things run: what is measured on ``server``, load and services on ``rest``.

    With one core they are the same, and rates say little.
    """

    server: frozenset[int]
    rest: frozenset[int]

    @classmethod
    def split(cls) -> Cores:
        """The first core that this process may use for the server, the others for the rest."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(frozenset(usable[:1]), frozenset(usable[1:] or usable))


@dataclass(slots=True)
class Process:
    """A started process. ``log`` is what it writes to, if that is kept."""

    popen: subprocess.Popen[str]
    log: Path | None = None

    @property
    def pid(self) -> int:
        return self.popen.pid

    def cpu(self) -> float:
        """Seconds of CPU that it has had, all threads, without its children."""
        return cpu_seconds(self.pid)

    def end(self) -> None:
        """Ask it to end, make it if it takes too long, and wait."""
        _end(self.popen)

    def tail(self, lines: int = 5) -> str:
        """The end of its log."""
        if self.log is None:
            return ""
        return " / ".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def line(self) -> str:
        """The next line it says. Raises Unavailable if it ends instead."""
        assert self.popen.stdout is not None
        said = self.popen.stdout.readline()
        if not said:
            raise Unavailable(f"{Path(str(self.popen.args[0])).name} ended with {self.popen.wait()}")  # type: ignore[index]
        return said.strip()


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    cores: frozenset[int],
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    log: Path | None = None,
    talks: bool = False,
) -> Iterator[Process]:
    """Start ``command`` on ``cores``, and end it on leaving; it ends as well when this process is gone.

    ``environ`` goes on top of the little that is kept of ours. ``talks``: its standard output is for
    ``Process.line`` and its standard input closes at the end; else both go to ``log``.
    """

    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    with contextlib.ExitStack() as stack:
        output: IO[str] | int = stack.enter_context(log.open("w")) if log else subprocess.DEVNULL
        popen = subprocess.Popen(
            [str(part) for part in command],
            env={name: os.environ[name] for name in _KEPT if name in os.environ} | dict(environ or {}),
            cwd=folder,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else output,
            stderr=None if talks else output,
            text=True,
            preexec_fn=prepare,  # noqa: PLW1509 - no thread of ours holds a lock it needs
            start_new_session=True,
        )
    try:
        yield Process(popen, log)
    finally:
        _end(popen)


def _end(popen: subprocess.Popen[str]) -> None:
    if popen.stdin is not None:
        with contextlib.suppress(OSError):
            popen.stdin.close()
    if popen.poll() is None:
        popen.terminate()
    try:
        popen.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    if popen.stdout is not None:
        popen.stdout.close()


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU a process has had: user and system, all its threads, ended ones too."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that are still there."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if int(_stat(int(entry))[1]) == pid:
                    found.append(int(entry))
    return found


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from the third field on; the second, a name, may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def pin(pid: int, cores: frozenset[int]) -> None:
    """Move a process, all its threads, to ``cores``."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread), cores)


def free_port() -> int:
    """A loopback port that nobody had a moment ago, for servers that can't choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_true(what: str, process: Process, found: Callable[[], bool]) -> None:
    """Wait until ``found``. Raises Unavailable if the process ends first or START_SECONDS pass."""
    deadline = time.monotonic() + START_SECONDS
    while not found():
        if process.popen.poll() is not None:
            raise Unavailable(f"{what} ended with {process.popen.returncode}: {process.tail()}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{what} was not ready after {START_SECONDS:g} s: {process.tail()}")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def resident(pid: int) -> int:
    """The bytes of memory that a process holds."""
    statm = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
