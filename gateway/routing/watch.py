"""Takes changes of the route file over while the gateway runs: the whole table or nothing.

The file is looked at once a second rather than watched through the kernel, because that also sees what
editors do (a new file under the old name) and what Kubernetes does (a symlink swapped somewhere above it).
Looking is one ``stat``; reading and parsing happen in a thread, and only when the content has changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.routing.faults import Fault, RouteFileError
from gateway.routing.loader import digest_of, parse
from gateway.routing.table import RouteTable

POLL_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 0.1
"""A file must have stood still for so long; a half-written one could be a valid table without its tail."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Identity:
    device: int
    inode: int
    size: int
    modified: int


_NEVER_SEEN: Final = _Identity(-1, -1, -1, -1)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One reading of the file: its digest, and a table or faults; neither if the content is as it was."""

    digest: bytes
    table: RouteTable | None = None
    faults: tuple[Fault, ...] = ()


class RouteWatcher:
    """Keeps ``table`` at the last good content of the file; ``faults`` are those of the last attempt.

    ``on_table`` gets each new table, ``on_faults`` the faults of each content that can't be used, both on
    the event loop. ``table`` at the start is what the caller has loaded.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        table: RouteTable,
        *,
        on_table: Callable[[RouteTable], None],
        on_faults: Callable[[tuple[Fault, ...]], None],
        poll_seconds: float = POLL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self.table = table
        self.faults: tuple[Fault, ...] = ()
        self._path = path
        self._environ = environ
        self._on_table = on_table
        self._on_faults = on_faults
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._wanted = asyncio.Event()
        self._seen: _Identity | None = _NEVER_SEEN
        self._digest = table.digest

    def reload(self) -> None:
        """Read the file at the next turn of the loop even if it looks unchanged; for SIGHUP."""
        self._wanted.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch until the block ends. What changed since the caller loaded the file is found at once."""
        self._wanted.clear()
        task = asyncio.create_task(self._watch(), name="route-file")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            seen = await self._settled()
            if seen != self._seen or self._wanted.is_set():
                forced = self._wanted.is_set()
                self._wanted.clear()
                self._seen = seen
                await self._take_over(forced)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wanted.wait()

    async def _settled(self) -> _Identity | None:
        """The file's identity; where it has changed, not before two looks in a row agree."""
        seen = _identity(self._path)
        while seen != self._seen:
            await asyncio.sleep(self._settle_seconds)
            again = _identity(self._path)
            if again == seen:
                break
            seen = again
        return seen

    async def _take_over(self, forced: bool) -> None:
        known = b"" if forced else self._digest
        attempt = await asyncio.to_thread(_attempt, self._path, self._environ, known)
        self._digest = attempt.digest
        if attempt.table is not None:
            self.faults = ()
            self.table = attempt.table
            self._tell(lambda: self._on_table(self.table))
        elif attempt.faults:
            self.faults = attempt.faults
            self._tell(lambda: self._on_faults(self.faults))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            _log.exception("a listener to the route file failed")


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _attempt(path: Path, environ: Mapping[str, str], known: bytes) -> _Attempt:
    """Read and parse; whatever goes wrong is a fault, because a bad file must not end the watching."""
    try:
        data = path.read_bytes()
    except OSError as error:
        why = f"can't be read: {error.strerror or error}"
        return _Attempt(b"unreadable", faults=_one_fault(path, "file", why) if known != b"unreadable" else ())
    digest = digest_of(data)
    if digest == known:
        return _Attempt(digest)
    try:
        return _Attempt(digest, parse(data, str(path), environ))
    except RouteFileError as error:
        return _Attempt(digest, faults=error.faults)
    except Exception as error:
        _log.exception("the route file could not be parsed")
        return _Attempt(digest, faults=_one_fault(path, "internal", f"could not be parsed: {error!r}"))


def _one_fault(path: Path, rule: str, message: str) -> tuple[Fault, ...]:
    return (Fault(str(path), 1, None, rule, message),)
