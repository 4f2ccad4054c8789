"""Logs: lines of text or JSON, and an access log cheap enough for each request.

A thread writes the lines, so that a slow reader of the log never delays the event loop.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol, TextIO

# Lines that may wait for a slow or stuck reader, at most; further lines are dropped and counted.
MAX_WAITING = 100_000
# Seconds for which lines are collected before they are written together.
COLLECT_SECONDS = 0.05


class Sink(Protocol):
    """The destination of lines: a text stream."""

    def write(self, text: str, /) -> Any: ...

    def flush(self) -> Any: ...


class Descriptor:
    """Writes to a text stream's file, bypassing the stream. What a stream failed to write stays in its buffer, and its
    lock stays with the thread that waits for a stuck reader. Both would block the end of the process.

    Raises OSError or ValueError if the stream has no file.
    """

    def __init__(self, stream: TextIO) -> None:
        with contextlib.suppress(OSError):
            stream.flush()
        self._descriptor = stream.fileno()
        self.encoding = stream.encoding or "utf-8"

    def write(self, text: str, /) -> None:
        """Writes all of ``text``. Raises OSError; raises UnicodeError before anything is written."""
        left = memoryview(text.encode(self.encoding))
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # The descriptor is non-blocking: another process with the same end of a pipe may have made it so.
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()

    def flush(self) -> None:
        """No-op: everything is written already."""


class NullSink:
    """Replaces a standard output that is closed."""

    def write(self, text: str, /) -> None:
        """Drops the text."""

    def flush(self) -> None:
        """No-op: nothing is buffered."""


def standard_output() -> Sink:
    """Where logs go by default."""
    stream: TextIO | None = sys.stdout
    if stream is None:  # the process was started without it
        return NullSink()
    try:
        return Descriptor(stream)
    except (OSError, ValueError):
        return stream


class LineWriter:
    """Writes from a thread of its own, so that a stuck reader stops only the log, never the event loop.

    ``dropped`` counts the lines that were dropped because too many were waiting or because they could not be written.
    ``notice`` formats the writer's own messages as lines.
    """

    def __init__(
        self,
        sink: Sink,
        most_waiting: int = MAX_WAITING,
        notice: Callable[[str], str] = "WARNING log: {}".format,
    ) -> None:
        self._sink = sink
        self._most_waiting = most_waiting
        self._notice = notice
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._awake = False
        """Whether the event is set; cheaper to read than the event."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._too_many = 0
        self._failed = 0
        self._thread.start()

    def write(self, line: str) -> None:
        """Takes a line (without line end) and returns at once. Safe from any thread."""
        if len(self._lines) >= self._most_waiting:
            self._too_many += 1
            return
        self._lines.append(line)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def close(self, patience: float = 2.0) -> None:
        """Writes the waiting lines and stops; lines that are not written within ``patience`` seconds are lost."""
        self._closing.set()
        self._wake.set()
        self._thread.join(patience)

    def _run(self) -> None:
        told = told_failed = 0
        reason = ""
        while True:
            self._wake.wait()
            closing = self._closing.wait(COLLECT_SECONDS)
            # Cleared before the lines are taken, the event first: a line that arrives in between wakes the thread once
            # more than needed, but no line is missed.
            self._wake.clear()
            self._awake = False
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            count, too_many, failed = len(lines), self._too_many, self._failed
            if too_many > told:
                lines.append(self._notice(f"{too_many - told} lines were dropped, the reader is too slow"))
            if failed > told_failed:
                lines.append(self._notice(f"{failed - told_failed} lines could not be written: {reason}"))
            try:
                self._write("".join(f"{line}\n" for line in lines))
                told, told_failed = too_many, failed
            except Exception as error:  # any error of a sink: this thread must not end before the process
                self._failed += count
                reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            if closing:
                return

    def _write(self, text: str) -> None:
        try:
            self._sink.write(text)
        except UnicodeEncodeError:
            # A name in another script must not cost the other lines of the batch.
            encoding = getattr(self._sink, "encoding", None) or "ascii"
            self._sink.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._sink.flush()


LogFormat = Literal["text", "json"]

MAX_FIELD_LENGTH = 2_000

BROKEN: Final = "broken"
"""An answer that had begun and was broken off by the service or by the gateway."""
ABORTED: Final = "aborted"
"""An answer that had begun, and that the client did not wait for or did not read."""
SLOW: Final = "slow"
"""An answer that had begun, and that the gateway broke off because too many slow clients kept services waiting."""

_TOKENS: Final = re.compile(
    r"eyJ[\w-]{4,}+\.[\w-]++\.[\w-]*+"  # a JWT, wherever it stands
    r"|(?i:(?<=bearer )|(?<=access_token=))[^\s&\"',;]++"
    # Only looks like one. Read in one go: a JWT that began later in it would end in the same way.
    r"|(eyJ[\w-]*+)"
)
_DAY_AND_TIME: Final = "%Y-%m-%dT%H:%M:%S"


@contextmanager
def logging_to(
    sink: Sink | None = None, *, log_format: LogFormat = "text", level: str = "INFO", service: str = ""
) -> Iterator[LineWriter]:
    """Sends all log records to ``sink`` (standard output by default) until the block ends; then restores the standard
    library's logging. ``service`` is named in every line of JSON."""
    root = logging.getLogger()
    formatter = JsonFormatter(service) if log_format == "json" else TextFormatter()

    def notice(text: str) -> str:
        return formatter.format(logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None))

    writer = LineWriter(sink or standard_output(), notice=notice)
    handler = _WriterHandler(writer)
    handler.setFormatter(formatter)
    before = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    try:
        yield writer
    finally:
        logging.captureWarnings(False)
        root.handlers[:], level_before = before
        root.setLevel(level_before)
        writer.close()


class _WriterHandler(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record))
        except Exception:  # as in every handler: a message that can't be formatted must not break its caller
            self.handleError(record)


class TextFormatter(logging.Formatter):
    """``2026-01-01T00:00:00.000Z WARNING gateway.auth.jwks: …``; further lines of a message are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text; only its first line begins at the margin."""
        text = without_tokens(super().format(record))
        lines = "\n    ".join(escaped(line) for line in text.split("\n"))
        return f"{timestamp(record.created)} {record.levelname} {record.name}: {lines}"


class JsonFormatter(logging.Formatter):
    """One JSON object per record: ``timestamp``, ``level``, ``logger``, ``message`` and, if any, ``exception``. The
    same values stand again under the names of the Logstash encoder, because searches made for Spring use them."""

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self._fixed = _fixed(service)

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON, in ASCII."""
        now = timestamp(record.created)
        facts: dict[str, Any] = {
            "timestamp": now,
            "level": record.levelname,
            "logger": record.name,
            "message": without_tokens(record.getMessage()),
        }
        if record.exc_info:
            facts["exception"] = facts["stack_trace"] = without_tokens(self.formatException(record.exc_info))
        facts |= {"@timestamp": now, "logger_name": record.name, "thread_name": record.threadName}
        return json.dumps(facts | {"level_value": record.levelno * 1000} | self._fixed)


def _fixed(service: str) -> dict[str, Any]:
    """The members that all lines of JSON have in common."""
    return {"@version": "1"} | ({"service": service} if service else {})


class AccessLog:
    """One line per request. Takes only what may be logged: no query, no header.

    Without a ``writer`` nothing is logged. ``user`` says whether and how users are named. ``hash`` names them by a hash
    keyed with ``key``: instances that share the key write the same name for a user, and only a holder of the key can
    tell which user it is. ``service`` is named in every line of JSON.
    """

    def __init__(
        self,
        writer: LineWriter | None,
        *,
        log_format: LogFormat = "text",
        user: Literal["off", "hash", "plain"] = "off",
        key: bytes = b"",
        service: str = "",
    ) -> None:
        self.enabled = writer is not None
        self._write = writer.write if writer else lambda line: None
        self._json = log_format == "json"
        self._user = user
        self._key = blake2b(key).digest()
        self._fixed = {
            "logger_name": "access",
            "thread_name": threading.current_thread().name,
            "level_value": logging.INFO * 1000,
        } | _fixed(service)

    def write(
        self,
        *,
        method: str,
        path: str,
        label: str,
        status: int,
        seconds: float,
        size: int,
        trace_id: str,
        client: str,
        user: str | None = None,
        outcome: str = "",
        end: str = "",
    ) -> None:
        """Writes the line of one request. ``label``: a route's id, or the name of one of the gateway's own calls;
        ``size``: the bytes written of the response's body; ``outcome``: the code of the error answered, if there was
        one; ``end``: BROKEN, ABORTED or SLOW if the answer is not complete."""
        path = path.partition("?")[0][:MAX_FIELD_LENGTH]
        method = method[:MAX_FIELD_LENGTH]
        name = self._name(user)
        now = timestamp(time.time())
        if self._json:
            facts: dict[str, Any] = {"timestamp": now, "level": "INFO", "logger": "access", "client": client}
            facts |= {"method": method, "path": path, "route": label, "status": status}
            facts |= {"durationMs": round(seconds * 1000, 2), "bytes": size, "traceId": trace_id}
            if end:
                facts["end"] = end
            if outcome:
                facts["code"] = outcome
            if name is not None:
                facts["user"] = name
            facts |= {"@timestamp": now, "message": f"{method} {path} {status}"}
            self._write(json.dumps(facts | self._fixed))
            return
        code = f" code={outcome}" if outcome else ""
        if end:
            code = f" end={end}{code}"
        who = f" user={_word(name)}" if name is not None else ""
        self._write(
            f"{now} INFO access: {_word(client)} {_word(method)} {_word(path)} {status} {seconds * 1000:.2f}ms "
            f"{size}B route={_word(label)} trace={trace_id}{code}{who}"
        )

    def _name(self, user: str | None) -> str | None:
        if user is None or self._user == "off":
            return None
        if self._user == "plain":
            return user
        return blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).hexdigest()


def escaped(text: str) -> str:
    """``text`` with unprintable characters as escapes: control characters, line separators, characters that change the
    direction of writing, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def without_tokens(text: str) -> str:
    """``text`` with everything that looks like a token replaced."""
    return _TOKENS.sub(lambda found: found[1] or "(hidden)", text)


@lru_cache(maxsize=16)
def _of_millisecond(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1000)
    return f"{_of_second(whole)}.{rest:03d}Z"


@lru_cache(maxsize=16)
def _of_second(whole: int) -> str:
    return time.strftime(_DAY_AND_TIME, time.gmtime(whole))


def timestamp(seconds: float) -> str:
    """Epoch seconds as UTC with milliseconds: ``2026-01-01T00:00:00.000Z``. Under load many calls have the same
    millisecond."""
    return _of_millisecond(int(seconds * 1000))


@lru_cache(maxsize=4096)
def _word(text: str) -> str:
    """A field of a text line, without blanks so that it can't be taken for two; ``-`` for an empty one. Most values
    occur again."""
    return escaped(text).replace(" ", "%20") or "-"
