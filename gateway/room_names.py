"""Names of rooms that calls make: ``concert-*`` under ``rooms:`` stands for ``concert-17`` and its like. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

V = TypeVar("V")
D = TypeVar("D")

MAX_VALUE: Final = 40
VALUE: Final = rf"[A-Za-z0-9_-]{{1,{MAX_VALUE}}}"
"""What may stand in a name in place of the star."""
STAR: Final = "*"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX_CACHED: Final = 4096
"""Names whose entries are remembered. Clients choose names, so that many only empty the memory."""


class RoomEntries:
    """The names under ``rooms:``, and which of them holds for a room.

    The entry of the room's own name counts before those with a star, and of these the one that names most of the room's
    name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        starred = sorted((name for name in self._names if STAR in name), key=len, reverse=True)
        self._patterns = tuple((name, _pattern(name)) for name in starred)
        self._known: dict[str, str | None] = {}

    @property
    def starred(self) -> tuple[str, ...]:
        """The entries with a star."""
        return tuple(name for name, _ in self._patterns)

    def of(self, room: str) -> str | None:
        """The entry for the room; None: there is no such room. ``room`` may also be an entry itself."""
        if room in self._names:
            return room
        if not self._patterns:
            return None
        if room in self._known:
            return self._known[room]
        found = next((name for name, pattern in self._patterns if pattern.fullmatch(room)), None)
        if len(self._known) >= _MAX_CACHED:
            self._known.clear()
        self._known[room] = found
        return found


def may_be_made(room: str) -> bool:
    """Whether this is the name of one room, and not of an entry."""
    return _NAME.fullmatch(room) is not None


def _pattern(entry: str) -> re.Pattern[str]:
    before, after = entry.split(STAR)
    return re.compile(re.escape(before) + VALUE + re.escape(after))


class ByRoom(Mapping[str, V]):
    """Values by the entries under ``rooms:``, found by the name of a room. Iterates over the entries that have one."""

    def __init__(self, entries: RoomEntries, values: Mapping[str, V]) -> None:
        self._entries = entries
        self._values = dict(values)

    def __getitem__(self, room: str) -> V:
        entry = self._entries.of(room)
        if entry is None:
            raise KeyError(room)
        return self._values[entry]

    def get(self, room: str, default: D = None) -> V | D:  # type: ignore[assignment]
        """The value for the room, or ``default``."""
        if not self._values:
            return default
        entry = self._entries.of(room)
        return default if entry is None else self._values.get(entry, default)

    def entry_of(self, room: str) -> str | None:
        """The entry that holds for the room; None: there is no such room."""
        return self._entries.of(room)

    def __contains__(self, room: object) -> bool:
        entry = self._entries.of(room) if isinstance(room, str) else None
        return entry is not None and entry in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
