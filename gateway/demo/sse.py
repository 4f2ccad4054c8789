"""Reading server-sent events: bytes in, events out, as the HTML standard's section 9.2.6 says."""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event. ``id`` is the last one the stream has set so far ("" if none)."""

    name: str
    data: str
    id: str


class Parser:
    """An incremental parser of one stream: feed it what arrived, however it was cut.

    ``retry`` is the reconnection time the server last asked for, in milliseconds (None if it never did);
    ``last_event_id`` is what a reconnection would send; ``comments`` counts comment lines.
    """

    __slots__ = (
        "_data",
        "_decoder",
        "_line",
        "_name",
        "_skip_lf",
        "_started",
        "comments",
        "last_event_id",
        "retry",
    )

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._skip_lf = False
        self._started = False
        self._name = ""
        self._data: list[str] = []
        self.retry: int | None = None
        self.last_event_id = ""
        self.comments = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and return the events they complete, in order."""
        text = self._decoder.decode(chunk)
        if not self._started and text:
            self._started = True
            text = text.removeprefix("\ufeff")
        events = []
        for line in self._lines(text):
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _lines(self, text: str) -> list[str]:
        # A line ends with CR, LF or CRLF, and a chunk may end between the two: then the LF that opens
        # the next chunk belongs to the line already seen.
        if self._skip_lf and text:
            text = text.removeprefix("\n")
            self._skip_lf = False
        if text.endswith("\r"):
            self._skip_lf = True
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = self._line + lines[0]
            self._line = rest
        else:
            self._line += rest
        return lines

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self.last_event_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        if not data:
            return None
        return Event(name or "message", "\n".join(data), self.last_event_id)
