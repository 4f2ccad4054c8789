"""Gateways that are there sooner: a process that has imported the gateway already forks each of them.

Importing takes two thirds of the processor time of a start, and the tests start hundreds of gateways. What is forked is
a process of its own, in a session of its own, with the environment, folder and output that it would have otherwise.
"""

from __future__ import annotations

import array
import asyncio
import atexit
import contextlib
import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_MOST_BYTES = 1 << 20
available = hasattr(os, "pidfd_open")
"""Whether the system can tell the end of a process that is no child."""


class ForkedProcess:
    """A gateway, with what ``asyncio.subprocess.Process`` has and the tests use."""

    def __init__(self, parent: _Parent, pid: int, stdout: asyncio.StreamReader) -> None:
        self._parent = parent
        self.pid = pid
        self.stdout = stdout
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended.set()
        else:
            self._loop.add_reader(self._handle, self._end)

    def _end(self) -> None:
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._parent.status_of(self.pid) if self._ended.is_set() else None

    async def wait(self) -> int:
        await self._ended.wait()
        return self._parent.status_of(self.pid)

    def send_signal(self, number: int) -> None:
        if self._ended.is_set():
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Parent:
    """The process that forks."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._statuses: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.support.preloaded", str(theirs.fileno())],
                cwd=_ROOT,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1"},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        atexit.register(self.close)

    def close(self) -> None:
        self._control.close()
        self._process.wait(10)

    def _told(self) -> tuple[str, int, int]:
        kind, pid, status = json.loads(self._control.recv(_MOST_BYTES))
        return kind, pid, status

    def fork(self, environ: Mapping[str, str], folder: Path, output: int) -> int:
        """Starts a gateway that writes to this descriptor; its number."""
        asked = json.dumps([dict(environ), str(folder)]).encode()
        self._control.sendmsg(
            [asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]).tobytes())]
        )
        while True:
            kind, pid, status = self._told()
            if kind == "started":
                # Of an earlier process with this number.
                self._statuses.pop(pid, None)
                return pid
            self._statuses[pid] = status

    def status_of(self, pid: int) -> int:
        """The exit status of a process that has ended."""
        while pid not in self._statuses:
            _, ended, status = self._told()
            self._statuses[ended] = status
        return self._statuses[pid]


_parent: _Parent | None = None


async def start(environ: Mapping[str, str], folder: Path) -> ForkedProcess:
    """``gateway serve`` with this environment in this folder."""
    global _parent  # noqa: PLW0603 - one for all tests of a worker
    if _parent is None:
        _parent = _Parent()
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    stdout = asyncio.StreamReader(loop=loop)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdout, loop=loop), os.fdopen(ours, "rb", 0)
    )
    try:
        pid = _parent.fork(environ, folder, theirs)
    finally:
        os.close(theirs)
    return ForkedProcess(_parent, pid, stdout)


def _become_gateway(environ: Mapping[str, str], folder: str, output: int) -> int:
    from gateway.cli.main import main  # noqa: PLC0415 - imported before the fork

    os.setsid()
    os.chdir(folder)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(environ)
    # Forked processes would have the same random numbers.
    random.seed()
    sys.argv = ["gateway", "serve"]
    gc.unfreeze()
    return main(["serve"])


def _serve(control: socket.socket) -> int:
    """Forks until the other end closes. Returns, in each forked process, the gateway's exit status."""
    import gateway.app  # noqa: PLC0415 - for the processes to be forked
    import gateway.cli.main  # noqa: PLC0415
    import gateway.serve  # noqa: F401, PLC0415

    with contextlib.suppress(ImportError):
        import uvloop  # noqa: F401, PLC0415

    gc.collect()
    gc.freeze()
    woken, wake = socket.socketpair()
    for each in (woken, wake):
        each.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            with contextlib.suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    control.send(
                        json.dumps(["ended", ended[0], os.waitstatus_to_exitcode(ended[1])]).encode()
                    )
        if control not in ready:
            continue
        asked, descriptors, _, _ = socket.recv_fds(control, _MOST_BYTES, 1)
        if not asked:
            return 0
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (control, woken, wake):
                each.close()
            return _become_gateway(*json.loads(asked), descriptors[0])
        os.close(descriptors[0])
        control.send(json.dumps(["started", pid, 0]).encode())


if __name__ == "__main__":
    raise SystemExit(_serve(socket.socket(fileno=int(sys.argv[1]))))
