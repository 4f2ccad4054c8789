"""Runs the regexes of a route file, and limits the time that they may take for one request.

Nearly every regex runs in RE2, whose time is linear in the text's length for any pattern. RE2 supports neither
look-around nor back-references nor possessive or atomic parts. A regex with one of these runs in a backtracking
matcher, which stops when the request's share of time is used up. Then the request is refused, because the result is
unknown: the request might pass a gate or take a wrong route.

All matching for one decision happens within one iteration of the event loop, so one meter at a time is enough.
``start_meter`` starts it for one question about one request, and all regexes up to ``stop_meter`` share its time.
Outside of ``start_meter`` and ``stop_meter``, each match has its own time.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import re2
import regex

from gateway.errors import BadRequest

ROUTE_MICROSECONDS: Final = 5500
GATE_MICROSECONDS: Final = 1000
OPEN_MICROSECONDS: Final = 500
CORS_MICROSECONDS: Final = 500
"""Time limits for all regexes together, each for one question about a request: route, gate, public call, CORS rule."""
ANSWER_MICROSECONDS: Final = 3000
"""Time limit for the regexes on one header of a response."""
MAX_RUN: Final = 400_000
"""Limit for the program's instructions times the text's characters. RE2 takes at most 6 ns for each. Longer texts go to
the bounded matcher."""
_UNMEASURED_RUN: Final = 2000
_UNMEASURED_MICROSECONDS: Final = 2
_EQUAL_MICROSECONDS: Final = 0.1
_REPLACING_MICROSECONDS: Final = 2
"""The time to insert a replacement for one match, without the time to find the match."""
_MEMORY: Final = 1 << 19
"""RE2's ``max_mem`` in bytes, which limits the states that one regex may cache."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_log = logging.getLogger(__name__)


class MatchingTimeout(BadRequest):
    """The request's share of time is used up. The request is refused, because the result is unknown.

    ``logged``: one regex used the time up, and the log has named it.
    """

    def __init__(self, *, logged: bool = False) -> None:
        self.logged = logged
        super().__init__("the request takes too long to compare with the rules for it")


class _Meter:
    """The remaining time of the current question, in microseconds of this thread's CPU time."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = math.inf

    def spend(self, microseconds: float) -> None:
        self.left -= microseconds
        if self.left <= 0:
            raise MatchingTimeout


_meter = _Meter()


def start_meter(microseconds: int) -> None:
    """Start the meter for one question about one request. ``stop_meter`` must follow, even after an error."""
    _meter.left = microseconds


def stop_meter() -> None:
    """Stop the meter."""
    _meter.left = math.inf


def fits(microseconds: int, question: Callable[[], object]) -> bool:
    """Whether ``question``, which is about one request, is answered within this time."""
    start_meter(microseconds)
    try:
        question()
    except MatchingTimeout:
        return False
    finally:
        stop_meter()
    return True


def spend(microseconds: float) -> None:
    """Charge the current question for a comparison without a regex. Raises MatchingTimeout if its time is used up."""
    _meter.spend(microseconds)


class RegexMatch:
    """One match of a regex in a text."""

    __slots__ = ("_base", "_data", "_found", "_groups", "_text")

    def __init__(
        self, text: str, found: Any, groups: int, data: bytes | None = None, base: tuple[int, int] = (0, 0)
    ) -> None:
        """``found`` is the library's match in ``text``, or in ``data``, which is ``text`` in UTF-8. ``base`` is a
        position before the match, in bytes and in characters."""
        self._text = text
        self._found = found
        self._groups = groups
        self._data = data
        self._base = base

    def span(self, number: int = 0) -> tuple[int, int]:
        """Where a group (0: the whole match) begins and ends, in characters; -1 if it took no part."""
        start, end = self._found.span(number)
        if self._data is None or start < 0:
            return start, end
        byte, character = self._base
        before = character + len(self._data[byte:start].decode())
        return before, before + len(self._data[start:end].decode())

    def group(self, number: int) -> str:
        """The text that a group (0: the whole match) matched; empty if it took no part."""
        start, end = self.span(number)
        return "" if start < 0 else self._text[start:end]

    def groups(self) -> tuple[str, ...]:
        """The texts that the groups matched, from the first group on."""
        return tuple(map(self.group, range(1, self._groups + 1)))


class _Re2Program(NamedTuple):
    """A program of RE2: its two match functions, and its number of instructions."""

    fullmatch: Callable[[bytes, int], Any]
    search: Callable[[bytes, int], Any]
    size: int


def _re2(pattern: str) -> _Re2Program:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    program = re2.compile(pattern, options)
    return _Re2Program(program.fullmatch, program.search, program.programsize)


class Regex:
    """A compiled regex. ``source`` is as written, ``names`` are the numbers of its named groups.

    ``literal`` is the only text that it matches as a whole, None if there may be others. ``beginning`` is the text that
    each full match begins with. ``unbounded_by`` says why RE2 can't run it (``a look-ahead``); empty if RE2 can.
    """

    __slots__ = (
        "_backtracking",
        "_for_ascii",
        "_logged",
        "_matches_empty",
        "_re2",
        "_text",
        "beginning",
        "groups",
        "literal",
        "names",
        "source",
        "unbounded_by",
    )

    def __init__(
        self,
        source: str,
        for_ascii: str,
        linear: str,
        backtracking: str,
        names: dict[str, int],
        groups: int,
        *,
        matches_empty: bool,
        unbounded_by: str,
        literal: str | None = None,
        beginning: str = "",
    ) -> None:
        """Raises ValueError (with a readable reason) if the regex can't be compiled.

        ``linear`` is for RE2 and ``backtracking`` for the bounded matcher; they differ in notation only. ``for_ascii``
        is ``linear`` without the characters that an ASCII text can't hold; its program is a third of the size.
        ``matches_empty``: the regex may match the empty text.
        """
        self.source = source
        self.names = names
        self.groups = groups
        self.unbounded_by = unbounded_by
        self.literal = literal
        self.beginning = beginning
        self._matches_empty = matches_empty
        self._for_ascii: _Re2Program | None = None
        self._re2: _Re2Program | None = None
        self._text = backtracking
        self._backtracking: Any = None
        self._logged = False
        if not unbounded_by:
            try:
                self._re2 = _re2(linear)
                self._for_ascii = self._re2 if for_ascii == linear else _re2(for_ascii)
            except re2.error:
                self.unbounded_by = "a repetition that is too large"
        if self._re2 is None:
            self._backtracker()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regex) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def warning(self) -> str:
        """The warning for the operator; empty if RE2 runs the regex."""
        if not self.unbounded_by:
            return ""
        return (
            f"the regex {self.source!r} has {self.unbounded_by}, so that its time is not linear in the text; a request "
            f"for which it takes more than {ROUTE_MICROSECONDS / 1000:g} ms is refused"
        )

    def fullmatch(self, text: str) -> RegexMatch | None:
        """Match the whole text. Raises MatchingTimeout."""
        if not text.startswith(self.beginning):
            _meter.spend(_EQUAL_MICROSECONDS)
            return None
        program = self._program(text)
        if program is None:
            found = self._bounded(self._backtracker().fullmatch, text, 0)
            return None if found is None else RegexMatch(text, found, self.groups)
        data = _in_utf8(text)
        found = self._searched(program.fullmatch, program.size, data, 0)
        if found is None:
            return None
        return RegexMatch(text, found, self.groups, None if len(data) == len(text) else data)

    def matches(self, text: str) -> bool:
        """Whether the regex matches the whole text. Raises MatchingTimeout."""
        if self.literal is not None or not text.startswith(self.beginning):
            _meter.spend(_EQUAL_MICROSECONDS)
            return self.literal == text
        program = self._program(text)
        if program is None:
            return self._bounded(self._backtracker().fullmatch, text, 0) is not None
        return self._searched(program.fullmatch, program.size, _in_utf8(text), 0) is not None

    def replace(self, text: str, replacement: Callable[[RegexMatch], str], *, limit: int = 0) -> str:
        """Replace each match, or the first ``limit`` ones, as Java's ``replaceAll`` does. Raises MatchingTimeout."""
        try:
            return self._replaced(text, replacement, limit)
        except MatchingTimeout as timeout:
            self._warn_once(len(text))
            timeout.logged = True
            raise

    def _replaced(self, text: str, replacement: Callable[[RegexMatch], str], limit: int) -> str:
        program = self._program(text)
        data = b"" if program is None else _in_utf8(text)
        length = len(text if program is None else data)
        as_utf8 = data if program is not None and length != len(text) else None
        out: list[str] = []
        at = kept = 0
        base = 0, 0
        while at <= length and (not limit or len(out) < 2 * limit):
            if program is None:
                found = self._bounded(self._backtracker().search, text, at)
            else:
                found = self._searched(program.search, program.size, data, at)
            if found is None:
                break
            _meter.spend(_REPLACING_MICROSECONDS)
            match = RegexMatch(text, found, self.groups, as_utf8, base)
            start, end = match.span()
            out += (text[kept:start], replacement(match))
            kept = end
            if end == len(text) and not self._matches_empty:
                break
            first, last = found.span()
            base = last, end
            # After an empty match, the search continues one character later.
            at = last if last > first else last + 1
            while as_utf8 is not None and at < length and as_utf8[at] & 0xC0 == 0x80:
                at += 1
        return "".join((*out, text[kept:])) if out else text

    def _program(self, text: str) -> _Re2Program | None:
        """RE2's program for a text; None if the text is for the bounded matcher."""
        program = self._for_ascii if text.isascii() else self._re2
        return None if program is None or program.size * len(text) > MAX_RUN else program

    def _searched(self, search: Callable[[bytes, int], Any], size: int, data: bytes, at: int) -> Any:
        if size * (len(data) - at) <= _UNMEASURED_RUN:
            _meter.spend(_UNMEASURED_MICROSECONDS)
            return search(data, at)
        began = time.thread_time()
        found = search(data, at)
        self._spend(began, len(data))
        return found

    def _bounded(self, search: Callable[..., Any], text: str, at: int) -> Any:
        _meter.spend(0)
        began = time.thread_time()
        try:
            found = search(text, at, timeout=min(_meter.left, ROUTE_MICROSECONDS) / 1e6)
        except TimeoutError:
            _meter.left = 0
            self._warn_once(len(text))
            raise MatchingTimeout(logged=True) from None
        self._spend(began, len(text))
        return found

    def _spend(self, began: float, length: int) -> None:
        try:
            _meter.spend((time.thread_time() - began) * 1e6)
        except MatchingTimeout as timeout:
            self._warn_once(length)
            timeout.logged = True
            raise

    def _warn_once(self, length: int) -> None:
        if not self._logged:
            self._logged = True
            _log.warning(
                "the regex %r took too long on %d characters; such requests are refused. This is said once",
                self.source,
                length,
            )

    def _backtracker(self) -> Any:
        if self._backtracking is None:
            try:
                self._backtracking = regex.compile(self._text, regex.VERSION0 | regex.ASCII)
            except (regex.error, ValueError, OverflowError, RecursionError) as error:
                raise ValueError(str(error)) from None
        return self._backtracking


def _in_utf8(text: str) -> bytes:
    """The text as UTF-8 for RE2. Bytes of a header that are no UTF-8 are lone surrogates in ``text``; each becomes
    U+FFFD."""
    return text.encode() if text.isascii() else _SURROGATE.sub("\ufffd", text).encode()
