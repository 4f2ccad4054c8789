"""Server-sent events as bytes: encoded once, written to any number of streams.

Nothing here knows a connection. A frame holds its bytes twice, bare (HTTP/1.0) and as one chunk of a
chunked body (HTTP/1.1), so that writing it to a stream is one call with bytes that exist already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked body."""

_BREAKS = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\r\n\0]")
to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Frame(NamedTuple):
    """One prepared piece of a stream: ``raw`` as it is, ``chunked`` as one HTTP/1.1 chunk."""

    raw: bytes
    chunked: bytes


def joined(first: Frame, second: Frame) -> Frame:
    """Both in one piece."""
    return Frame(first.raw + second.raw, first.chunked + second.chunked)


def event(
    name: str, data: Mapping[str, object] | str, *, last_id: str | None = None, retry: float | None = None
) -> Frame:
    """The event ``name`` with ``data`` as compact JSON, or being that already (on one line).

    ``last_id`` becomes the reader's ``Last-Event-ID``; ``retry`` is its reconnection time in seconds.
    Raises ``ValueError`` for a name or id that would break the line it stands on, and for numbers
    JSON has no notation for.
    """
    lines = [f"event: {_one_line(name)}\n"]
    if last_id is not None:
        lines.append(f"id: {_one_line(last_id)}\n")
    if retry is not None:
        lines.append(_retry_line(retry))
    # JSON escapes all line breaks that SSE knows, so the data is one line whatever it holds.
    lines.append(f"data: {data if isinstance(data, str) else to_json(data)}\n\n")
    return _frame("".join(lines))


def line_event(name: str, data: str) -> Frame:
    """As ``event``, for a plain name and JSON that is one line already: what is sent most is made fastest."""
    return _frame(f"event: {name}\ndata: {data}\n\n")


def comment(text: str, *, retry: float | None = None) -> Frame:
    """A comment, which no reader shows to anybody; ``retry`` in seconds."""
    lines = "".join(f": {line}\n" for line in _BREAKS.split(text))
    return _frame((_retry_line(retry) if retry is not None else "") + lines + "\n")


def opening(retry: float) -> Frame:
    """Sets the reconnection time (seconds) and leaves the block open.

    A reader obeys the line as soon as it has it, and the first event, whenever it comes, completes the block
    and so carries it.
    """
    return _frame(_retry_line(retry))


def _frame(text: str) -> Frame:
    # A lone surrogate has no UTF-8; inside a JSON string its backslash form is its JSON escape.
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
