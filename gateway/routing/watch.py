"""Applies changes of the route file while the gateway runs. A change takes effect as a whole or not at all.

The file is polled once a second instead of watched through the kernel. Polling also notices how editors save (a new
file under the old name) and how Kubernetes updates (a symlink is swapped somewhere above the file). One poll is one
``stat``, and one more for each file that routes name for TLS. Reading and parsing happen in a thread, and only if the
content has changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.background import end_task
from gateway.routing.spec.issues import Issue, RouteFileError
from gateway.routing.spec.loader import content_of, digest_of, parse
from gateway.routing.spec.overlay import Properties
from gateway.routing.table import RouteTable

POLL_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 0.1
"""A file must be unchanged for this long before it is read. A half-written file could be a valid but incomplete one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells a file from another one or from an earlier state of it, without reading it."""

    device: int
    inode: int
    size: int
    modified: int


NEVER_SEEN: Final = FileIdentity(-1, -1, -1, -1)
"""The identity of no file, and of no missing file either."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """What a table is made of: the file's content, and the properties of a Config Server that are laid over it."""

    data: bytes
    properties: Properties | None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt to make a table. ``key`` identifies the input. ``table`` is the table to put in force, if any, and
    ``sources`` is what it was made of. ``issues`` are those of the current file and the offered properties."""

    key: tuple[bytes, bytes]
    table: RouteTable | None = None
    sources: _Sources | None = None
    issues: tuple[Issue, ...] = ()


class RouteWatcher:
    """Keeps ``table`` up to date with the last good content of the file and the last good properties offered.

    ``on_table`` is called with each new table, ``on_issues`` with the faults of each content that can't be used, both
    on the event loop. At the start, ``table`` is what the caller has made of ``data`` (empty: unknown) and
    ``properties``. If the file or the properties can't be used, a change of the other one still takes effect.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        table: RouteTable,
        *,
        on_table: Callable[[RouteTable], None],
        on_issues: Callable[[tuple[Issue, ...]], None],
        data: bytes = b"",
        properties: Properties | None = None,
        poll_seconds: float = POLL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self.table = table
        self.issues: tuple[Issue, ...] = ()
        self._path = path
        self._environ = environ
        self._on_table = on_table
        self._on_issues = on_issues
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._wanted = asyncio.Event()
        self._forced = False
        self._seen: FileIdentity | None = NEVER_SEEN
        self._named = _identities(table.files)
        self._good = _Sources(data, properties)
        self._offered = properties
        self._waiting: list[asyncio.Future[tuple[Issue, ...]]] = []
        self._key = (table.digest, _digest(properties))

    @property
    def properties(self) -> Properties | None:
        """The properties that are laid over the file in ``table``."""
        return self._good.properties

    def reload(self) -> None:
        """Read the file as soon as possible, even if it looks unchanged. For SIGHUP."""
        self._forced = True
        self._wanted.set()

    async def read(self) -> tuple[Issue, ...]:
        """Check the file now. Returns the faults of the file, or of the properties that were offered last."""
        future: asyncio.Future[tuple[Issue, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        return await future

    async def offer(self, properties: Properties | None) -> tuple[Issue, ...]:
        """Lay ``properties`` over the file in place of the present ones (None: only the file). If they can't be used,
        returns their faults, and the present ones stay. Waits until ``on_table`` has been called."""
        self._offered = properties
        issues = await self.read()
        return () if self._good.properties is properties else issues

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch until the block ends. A change since the caller loaded the file is noticed at once."""
        self._wanted.clear()
        task = asyncio.create_task(self._watch(), name="route-file")
        try:
            yield
        finally:
            await end_task(task)
            for future in self._waiting:
                future.cancel()

    async def _watch(self) -> None:
        while True:
            seen = await self._settled()
            named = _identities(self.table.files)
            if seen != self._seen or named != self._named or self._wanted.is_set():
                self._wanted.clear()
                # The route file may be as before, and the files that it names for TLS are not.
                self._forced = self._forced or named != self._named
                self._seen = seen
                # A caller that arrives from here on waits for the next check: this one may miss its change.
                waiting, self._waiting = self._waiting, []
                try:
                    await self._take_over()
                    self._named = _identities_since(named, self.table.files)
                    for future in waiting:
                        if not future.done():
                            future.set_result(self.issues)
                finally:
                    for future in waiting:
                        future.cancel()  # no effect on a future that has its result
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wanted.wait()

    async def _settled(self) -> FileIdentity | None:
        """The file's identity. If it has changed, waits until two checks in a row find the same."""
        seen = identity_of(self._path)
        while seen != self._seen:
            await asyncio.sleep(self._settle_seconds)
            again = identity_of(self._path)
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
            self.issues = ()
            self.table = attempt.table
            self._good = attempt.sources
            self._notify(lambda: self._on_table(self.table))
        if attempt.issues:
            self.issues = attempt.issues
            self._notify(lambda: self._on_issues(self.issues))

    def _notify(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            _log.exception("a listener to the route file failed")


def identity_of(path: Path) -> FileIdentity | None:
    """The file's identity; None if there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return FileIdentity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _identities(files: Iterable[Path]) -> dict[Path, FileIdentity | None]:
    return {file: identity_of(file) for file in files}


def _identities_since(
    before: Mapping[Path, FileIdentity | None], files: Iterable[Path]
) -> dict[Path, FileIdentity | None]:
    """The identities of these files, of those in ``before`` as they were then: what has changed since then has perhaps
    not been read."""
    return {file: before[file] if file in before else identity_of(file) for file in files}


def _attempt(
    path: Path,
    environ: Mapping[str, str],
    good: _Sources,
    offered: Properties | None,
    known: tuple[bytes, bytes] | None,
) -> _Attempt:
    """Read and parse. Every error becomes a fault, because a bad file must not end the watching.

    Tries the current file with the offered properties first. If that fails, tries each of them with the last good
    version of the other, because an error in one must not block a change of the other.
    """
    issues: tuple[Issue, ...] = ()
    tries: list[_Sources]
    try:
        data = content_of(path)
        digest = digest_of(data)
        tries = [_Sources(data, offered), _Sources(data, good.properties)]
    except RouteFileError as error:
        digest, tries = b"unreadable", []
        issues = error.issues
    key = (digest, _digest(offered))
    if key == known:
        return _Attempt(key)
    if good.data and digest != digest_of(good.data):
        tries.append(_Sources(good.data, offered))
    for sources in tries:
        if issues and sources.data == good.data and sources.properties is good.properties:
            continue  # in force already
        wrong = _load_or_issues(path, environ, sources)
        if isinstance(wrong, RouteTable):
            return _Attempt(key, wrong, sources, issues)
        issues = issues or wrong
    return _Attempt(key, issues=issues)


def _load_or_issues(
    path: Path, environ: Mapping[str, str], sources: _Sources
) -> RouteTable | tuple[Issue, ...]:
    """The table made of these sources, or the faults if there is none."""
    try:
        return parse(sources.data, str(path), environ, sources.properties)
    except RouteFileError as error:
        return error.issues
    except Exception as error:
        _log.exception("the routes could not be parsed")
        return _one_issue(
            str(path), "internal", f"a fault of the gateway itself ({type(error).__name__}); see its log"
        )


def _digest(properties: Properties | None) -> bytes:
    return properties.digest if properties else b""


def _one_issue(file: str, rule: str, message: str) -> tuple[Issue, ...]:
    return (Issue(file, 1, None, rule, message),)
