"""Server-sent events as bytes, encoded once for any number of streams, and the frames of one room.

A frame holds its bytes twice: bare (HTTP/1.0), and as one chunk of a chunked body (HTTP/1.1). So writing it to a stream
is one call with bytes that exist already.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gateway.sse.interfaces import Renderer, UserState
from gateway.sse.termination import AllowedIn, StreamEnd

LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked body."""

_BREAKS = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\r\n\0]")
to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Frame(NamedTuple):
    """One prepared piece of a stream: ``raw`` as it is, ``chunked`` as one HTTP/1.1 chunk."""

    raw: bytes
    chunked: bytes


def join(first: Frame, second: Frame) -> Frame:
    """Both frames as one."""
    return Frame(first.raw + second.raw, first.chunked + second.chunked)


def event(
    name: str, data: Mapping[str, object] | str, *, last_id: str | None = None, retry: float | None = None
) -> Frame:
    """The event ``name``. ``data`` is encoded as compact JSON; a string must already be JSON on one line.

    ``last_id`` becomes the client's ``Last-Event-ID``; ``retry`` is its reconnection time in seconds. Raises
    ``ValueError`` for a name or id with a line break or the like, and for numbers that JSON can't express.
    """
    lines = [f"event: {_one_line(name)}\n"]
    if last_id is not None:
        lines.append(f"id: {_one_line(last_id)}\n")
    if retry is not None:
        lines.append(_retry_line(retry))
    # JSON escapes all line breaks of SSE, so any data becomes one line.
    lines.append(f"data: {data if isinstance(data, str) else to_json(data)}\n\n")
    return _frame("".join(lines))


def line_event(name: str, data: str) -> Frame:
    """Like ``event``, for a plain name and JSON that is already one line. It is fast, because it makes most of the
    events."""
    return _frame(f"event: {name}\ndata: {data}\n\n")


def comment(text: str, *, retry: float | None = None) -> Frame:
    """A comment, which clients do not show to the user; ``retry`` in seconds."""
    lines = "".join(f": {line}\n" for line in _BREAKS.split(text))
    return _frame((_retry_line(retry) if retry is not None else "") + lines + "\n")


def opening(retry: float) -> Frame:
    """Sets the reconnection time (seconds) and leaves the block open.

    A client uses the new time as soon as it has the line. The first event, whenever it comes, completes the block.
    """
    return _frame(_retry_line(retry))


def _frame(text: str) -> Frame:
    # A lone surrogate has no UTF-8 encoding. Its backslash form is also its JSON escape inside a JSON string.
    raw = text.encode("utf-8", "backslashreplace")
    return Frame(raw, b"%x\r\n%b\r\n" % (len(raw), raw))


def _one_line(value: str) -> str:
    if _FORBIDDEN.search(value):
        raise ValueError(f"not one line: {value!r}")
    return value


def _retry_line(seconds: float) -> str:
    if not seconds >= 0:
        raise ValueError(f"a reconnection time can't be {seconds!r}")
    return f"retry: {int(seconds * 1000)}\n"


END_ID = "end"
"""``Last-Event-ID`` of a client that has received the last event of its stream."""

REFUSED_RETRY_SECONDS = 600.0
"""After an ERROR nothing changes by itself. This time only matters behind proxies that drop ``Last-Event-ID``."""

# Reconnection times in seconds, drawn evenly from a range so that clients do not all reconnect at once after a restart.
_OPENING_RETRY = (2.0, 6.0)
_FULL_RETRY = (5.0, 15.0)
_DRAIN_RETRY = (2.0, 10.0)

_FRAME_CACHE_SIZE = 64
"""Number of last frames kept: a mass promotion sends the same few (by language and seconds left) to all users."""


def retry_later(why: str, draw: Callable[[float, float], float] = random.uniform) -> Frame:
    """The whole answer to a client that can't have a stream here now: ``why``, as a comment, and the time to come
    back."""
    return comment(why, retry=draw(*_FULL_RETRY))


def _name_of(state: UserState) -> str:
    return "REGISTERED" if state.kind == "REGISTERED" else "STATUS_UPDATE"


class Encoder:
    """Creates the frames of one room. ``now`` is the wall clock in epoch seconds, ``draw(low, high)`` picks jitter."""

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
        self._endings: dict[tuple[StreamEnd, str], Frame] = {}
        self._notices: dict[str, Frame] = {}

    def opening(self) -> Frame:
        """The first frame of every stream."""
        return opening(self._draw(*_OPENING_RETRY))

    def status(self, state: UserState, languages: str, reason: str = "") -> Frame:
        """A waiting user's STATUS_UPDATE, or a registered user's REGISTERED. ``languages``: of the stream. ``reason``:
        why the user stands further back than before, if so."""
        return line_event(_name_of(state), self._renderer.status(state, languages, reason))

    def notice(self, languages: str) -> Frame:
        """A NOTICE with what operators tell all users now. Streams with the same text share a frame."""
        data = self._renderer.notice(languages)
        frame = self._notices.get(data)
        if frame is None:
            frame = self._notices[data] = line_event("NOTICE", data)
        return frame

    def forget_notices(self) -> None:
        """Operators tell users something else now."""
        self._notices.clear()

    def only_status(self, state: UserState, languages: str) -> Frame:
        """The single ``status`` that an instance sends if it has no room for another stream."""
        retry = self._draw(*_FULL_RETRY)
        return event(_name_of(state), self._renderer.status(state, languages), retry=retry)

    def heartbeat(self) -> Frame:
        """A HEARTBEAT with the current time, the same for all streams."""
        return event("HEARTBEAT", {"timestamp": int(self._now() * 1000)})

    def no_room(self) -> Frame:
        """Sent instead of ``only_status`` if the user's state is unavailable."""
        return retry_later("no room here", self._draw)

    def going_away(self) -> Frame:
        """The last frame of a stream when the instance shuts down: the client reconnects to another instance."""
        return comment("going away", retry=self._draw(*_DRAIN_RETRY))

    def ending(self, ending: StreamEnd, locale: str, user: str = "", ticket: int = 0) -> Frame:
        """The last frame: ALLOWED_IN or ERROR, with the id that stops a browser's reconnects. ``ticket``: the user's, 0
        if it is unknown."""
        if isinstance(ending, AllowedIn) and self._renderer.personal:
            return self._admission(ending, locale, user, ticket)
        frame = self._endings.get((ending, locale))
        if frame is None:
            if len(self._endings) >= _FRAME_CACHE_SIZE:
                self._endings.clear()
            frame = self._endings[ending, locale] = self._last_frame(ending, locale)
        return frame

    def _admission(self, ending: AllowedIn, locale: str, user: str = "", ticket: int = 0) -> Frame:
        data = self._renderer.allowed_in(ending.expires_in, locale, user, ticket, ending.claim_by)
        return event("ALLOWED_IN", data, last_id=END_ID, retry=max(0.0, ending.expires_in))

    def _last_frame(self, ending: StreamEnd, locale: str) -> Frame:
        if isinstance(ending, AllowedIn):
            return self._admission(ending, locale)
        data = self._renderer.error(ending.code, ending.reason, locale)
        return event("ERROR", data, last_id=END_ID, retry=REFUSED_RETRY_SECONDS)
