"""What operators tell all users of a room, as this instance knows it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from redis.exceptions import ResponseError

from gateway.background import end_task
from gateway.errors import QueueUnavailable
from gateway.waiting_room.keys import RoomKeys

MAX_CHARACTERS: Final = 500
"""Of a text."""
MAX_LANGUAGES: Final = 16
"""Texts of a notice; ``notice.lua`` has the same number."""


class Notice:
    """The texts of a notice by language; ``""``: for everyone else. Two notices are equal only if they are the same
    object, so that what is made of one is cheap to look up."""

    __slots__ = ("texts",)

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts


class Notices:
    """The notice of a room.

    ``call`` makes a call to Redis. ``heard`` is told the version in each reply of a script, and ``refresh`` that Redis
    has said there is another one. ``on_change`` is called when another notice is in force here.
    """

    def __init__(self, keys: RoomKeys, call: Callable[..., Awaitable[Any]]) -> None:
        self._keys = keys
        self._call = call
        self._version = 0
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self.current: Notice | None = None
        """None: there is none."""
        self.on_change: Callable[[], None] = _nothing

    def heard(self, version: int) -> None:
        """Redis holds this version; 0: there was no notice."""
        if version != self._version:
            self.refresh()

    def refresh(self) -> None:
        """Reads the notice. If that fails, the next reply of a script is the reason to try again."""
        self._again = True
        if self._task is None:
            self._task = asyncio.create_task(self._read(), name=f"notice {self._keys.room}")

    async def close(self) -> None:
        """Reads nothing more."""
        if self._task is not None:
            await end_task(self._task)

    async def _read(self) -> None:
        try:
            while self._again:
                self._again = False
                with contextlib.suppress(QueueUnavailable, ResponseError):
                    text, version = await self._call("HMGET", self._keys.settings, "notice", "notice_version")
                    self._take(parse_notice(text), int(version or 0))
        finally:
            self._task = None

    def _take(self, texts: Mapping[str, str], version: int) -> None:
        if version == self._version:
            return
        self._version = version
        before, self.current = self.current, Notice(texts) if texts else None
        if before is not None or self.current is not None:
            self.on_change()


def parse_notice(text: bytes | None) -> dict[str, str]:
    """The texts by language, as ``notice.lua`` writes them. Ignores what is unusable."""
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _nothing() -> None:
    """No-op."""
