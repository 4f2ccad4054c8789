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

from gateway.routing.spec.faults import Fault, RouteFileError
from gateway.routing.spec.loader import content_of, digest_of, parse
from gateway.routing.spec.overlay import Properties
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
class _Sources:
    """What a table is made of: the file's content, and what a Config Server lays over it."""

    data: bytes
    properties: Properties | None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at a table. ``key`` tells what it was made of; ``table`` is what can be put in force, if
    anything can, and ``sources`` is what that is made of. ``faults`` are those of what was wanted."""

    key: tuple[bytes, bytes]
    table: RouteTable | None = None
    sources: _Sources | None = None
    faults: tuple[Fault, ...] = ()


class RouteWatcher:
    """Keeps ``table`` at the last good content of the file and of what was offered to be laid over it.

    ``on_table`` gets each new table, ``on_faults`` the faults of each content that can't be used, both on
    the event loop. ``table`` at the start is what the caller has made of ``data`` (unknown if empty) and
    ``properties``. If one of the two can't be used, a change of the other counts all the same.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        table: RouteTable,
        *,
        on_table: Callable[[RouteTable], None],
        on_faults: Callable[[tuple[Fault, ...]], None],
        data: bytes = b"",
        properties: Properties | None = None,
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
        self._forced = False
        self._seen: _Identity | None = _NEVER_SEEN
        self._good = _Sources(data, properties)
        self._offered = properties
        self._waiting: list[asyncio.Future[tuple[Fault, ...]]] = []
        self._key = (table.digest, _digest(properties))

    @property
    def properties(self) -> Properties | None:
        """What is laid over the file in ``table``."""
        return self._good.properties

    def reload(self) -> None:
        """Read the file at the next turn of the loop even if it looks unchanged; for SIGHUP."""
        self._forced = True
        self._wanted.set()

    async def read(self) -> tuple[Fault, ...]:
        """Look at the file now. Returns what is wrong with it, or with what was offered last."""
        future: asyncio.Future[tuple[Fault, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        return await future

    async def offer(self, properties: Properties | None) -> tuple[Fault, ...]:
        """Lay these over the file instead of those that are, or nothing. Returns what is wrong with them, if they
        can't be used; then those before them stay. Waits until ``on_table`` has been told."""
        self._offered = properties
        faults = await self.read()
        return () if self._good.properties is properties else faults

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
            for future in self._waiting:
                future.cancel()

    async def _watch(self) -> None:
        while True:
            seen = await self._settled()
            if seen != self._seen or self._wanted.is_set():
                self._wanted.clear()
                self._seen = seen
                # Who asks from here on wants to know of a later look than this one.
                waiting, self._waiting = self._waiting, []
                try:
                    await self._take_over()
                    for future in waiting:
                        if not future.done():
                            future.set_result(self.faults)
                finally:
                    for future in waiting:
                        future.cancel()  # of no effect where there is an outcome
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

    async def _take_over(self) -> None:
        forced, self._forced = self._forced, False
        known = None if forced else self._key
        attempt = await asyncio.to_thread(
            _attempt, self._path, self._environ, self._good, self._offered, known
        )
        self._key = attempt.key
        if attempt.table is not None and attempt.sources is not None:
            self.faults = ()
            self.table = attempt.table
            self._good = attempt.sources
            self._tell(lambda: self._on_table(self.table))
        if attempt.faults:
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


def _attempt(
    path: Path,
    environ: Mapping[str, str],
    good: _Sources,
    offered: Properties | None,
    known: tuple[bytes, bytes] | None,
) -> _Attempt:
    """Read and parse; whatever goes wrong is a fault, because a bad file must not end the watching.

    What is wanted is the file as it is with what is offered. Failing that, one of the two with the last good of
    the other: what is broken in one place must not hold up the other.
    """
    faults: tuple[Fault, ...] = ()
    tries: list[_Sources]
    try:
        data = content_of(path)
        digest = digest_of(data)
        tries = [_Sources(data, offered), _Sources(data, good.properties)]
    except RouteFileError as error:
        digest, tries = b"unreadable", []
        faults = error.faults
    key = (digest, _digest(offered))
    if key == known:
        return _Attempt(key)
    if good.data and digest != digest_of(good.data):
        tries.append(_Sources(good.data, offered))
    for sources in tries:
        if faults and sources.data == good.data and sources.properties is good.properties:
            continue  # in force already
        wrong = _wrong_with(path, environ, sources)
        if isinstance(wrong, RouteTable):
            return _Attempt(key, wrong, sources, faults)
        faults = faults or wrong
    return _Attempt(key, faults=faults)


def _wrong_with(path: Path, environ: Mapping[str, str], sources: _Sources) -> RouteTable | tuple[Fault, ...]:
    """The table of these sources, or why there is none."""
    try:
        return parse(sources.data, str(path), environ, sources.properties)
    except RouteFileError as error:
        return error.faults
    except Exception as error:
        _log.exception("the routes could not be parsed")
        return _one_fault(
            str(path), "internal", f"a fault of the gateway itself ({type(error).__name__}); see its log"
        )


def _digest(properties: Properties | None) -> bytes:
    return properties.digest if properties else b""


def _one_fault(file: str, rule: str, message: str) -> tuple[Fault, ...]:
    return (Fault(file, 1, None, rule, message),)
