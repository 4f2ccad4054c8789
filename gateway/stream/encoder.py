"""Turns states and endings of one room into frames; what is the same for many is encoded once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from gateway.stream import frames
from gateway.stream.frames import Frame
from gateway.stream.ports import Renderer, UserState
from gateway.stream.verdict import AllowedIn, Ending

END_ID = "end"
"""``Last-Event-ID`` of a reader to whom the last thing has been said."""

REFUSED_RETRY_SECONDS = 600.0
"""After an ERROR nothing changes by itself; this only matters behind proxies that drop ``Last-Event-ID``."""

# Reconnection times in seconds, drawn evenly from a range so that a restart is no stampede.
_OPENING_RETRY = (2.0, 6.0)
_FULL_RETRY = (5.0, 15.0)
_DRAIN_RETRY = (2.0, 10.0)

_REMEMBERED = 64
"""Endings kept: a mass promotion says the same few (by language and seconds left) to everybody."""


def come_back(why: str, draw: Callable[[float, float], float] = random.uniform) -> Frame:
    """All that a reader is told who can't have a stream here now: ``why``, as a comment, and when to come back."""
    return frames.comment(why, retry=draw(*_FULL_RETRY))


class Encoder:
    """Frames of one room. ``now`` is the wall clock in epoch seconds, ``draw(low, high)`` picks jitter."""

    def __init__(
        self,
        renderer: Renderer,
        *,
        now: Callable[[], float] = time.time,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._renderer = renderer
        self._now = now
        self._draw = draw
        self._endings: dict[tuple[Ending, str], Frame] = {}

    def opening(self) -> Frame:
        """Goes first on every stream."""
        return frames.opening(self._draw(*_OPENING_RETRY))

    def status(self, state: UserState) -> Frame:
        """A waiting user's STATUS_UPDATE."""
        return frames.line_event("STATUS_UPDATE", self._renderer.status(state))

    def only_status(self, state: UserState) -> Frame:
        """The single STATUS_UPDATE of an instance that has no room for another stream."""
        retry = self._draw(*_FULL_RETRY)
        return frames.event("STATUS_UPDATE", self._renderer.status(state), retry=retry)

    def heartbeat(self) -> Frame:
        """A HEARTBEAT of this moment, the same for everybody."""
        return frames.event("HEARTBEAT", {"timestamp": int(self._now() * 1000)})

    def no_room(self) -> Frame:
        """Instead of ``only_status`` where no state can be had."""
        return come_back("no room here", self._draw)

    def going_away(self) -> Frame:
        """Ends a stream of an instance that shuts down: the reader finds another one."""
        return frames.comment("going away", retry=self._draw(*_DRAIN_RETRY))

    def ending(self, ending: Ending, locale: str) -> Frame:
        """The last frame: ALLOWED_IN or ERROR, with the id that stops a browser's retries."""
        frame = self._endings.get((ending, locale))
        if frame is None:
            if len(self._endings) >= _REMEMBERED:
                self._endings.clear()
            frame = self._endings[ending, locale] = self._last(ending, locale)
        return frame

    def _last(self, ending: Ending, locale: str) -> Frame:
        if isinstance(ending, AllowedIn):
            data = self._renderer.allowed_in(ending.expires_in, locale)
            return frames.event("ALLOWED_IN", data, last_id=END_ID, retry=max(0.0, ending.expires_in))
        data = self._renderer.error(ending.code, ending.reason, locale)
        return frames.event("ERROR", data, last_id=END_ID, retry=REFUSED_RETRY_SECONDS)
