"""Types of single values in a route file: how a text is read, how messages describe it, and its JSON Schema.

A reader gets texts, because ``${NAME}`` may stand for any value. A schema gets what an editor sees: a number where
YAML has one, and a text where it has a placeholder. A text with a placeholder is never refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar, cast

T_co = TypeVar("T_co", covariant=True)

_PLACEHOLDER: Final = r"\$\{"
_MAX_NUMBER: Final = 999_999_999
_INT32: Final = range(-(2**31), 2**31)
# Redis counts in milliseconds, so a shorter time would become 0 there.
_MIN_SECONDS: Final = 0.001
_MIN_INTERVAL: Final = 0.1
# The end of the year 9999 in UTC. Later moments can't be shown as dates.
_END_OF_MOMENTS: Final = 253_402_300_800
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_UNITS: Final = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


@dataclass(frozen=True, slots=True)
class ValueType(Generic[T_co]):
    """A type of value. ``wanted`` completes "NAME must be …". The whole text must match ``pattern``, which only uses
    the syntax that regexes of Python and JSON Schema share. ``make`` turns the match into the value, or returns None if
    the text is wrong all the same.

    ``types`` are the JSON types besides a text, ``bounds`` the schema's keywords for these.
    """

    wanted: str
    pattern: str
    make: Callable[[re.Match[str]], T_co | None]
    types: tuple[str, ...] = ()
    bounds: Mapping[str, object] = field(default_factory=dict)

    def read(self, text: str) -> T_co | None:
        """The value of a text; None if the text is not allowed."""
        # ASCII as in JSON Schema: digits of other alphabets would get as far as Redis, which reads none of them.
        match = re.fullmatch(self.pattern, text, re.ASCII)
        return self.make(match) if match else None

    def schema(self) -> dict[str, object]:
        """The JSON Schema of one value."""
        types = [*self.types, "string"]
        pattern = {} if self is TEXT else {"pattern": f"^(?:{self.pattern})$|{_PLACEHOLDER}"}
        return {"type": types if self.types else "string", **self.bounds, **pattern}


def any_case(text: str, between: str = "") -> str:
    """A regex for a text in upper, lower or mixed case. ``between`` replaces each hyphen."""
    letters = (f"[{each.lower()}{each.upper()}]" if each.isalpha() else re.escape(each) for each in text)
    return "".join(between if each == re.escape("-") and between else each for each in letters)


def choice(names: Sequence[str]) -> ValueType[str]:
    """One of these names, which are in upper case. The case of a text is ignored."""
    return ValueType(
        f"one of {', '.join(names)}", "|".join(map(any_case, names)), lambda match: match[0].upper()
    )


def whole(lowest: int) -> ValueType[int]:
    """A whole number of at most nine digits."""

    def make(match: re.Match[str]) -> int | None:
        return int(match[0]) if int(match[0]) >= lowest else None

    bounds = {"minimum": lowest, "maximum": _MAX_NUMBER}
    return ValueType(f"a whole number from {lowest}", r"[+-]?\d{1,9}", make, ("integer",), bounds)


def _duration(match: re.Match[str]) -> float | None:
    seconds = float(match[1]) * _SECONDS[match[2]]
    return seconds if seconds >= _MIN_SECONDS else None


def _order(match: re.Match[str]) -> int | None:
    return number if (number := int(match[0])) in _INT32 else None


def _moment(match: re.Match[str]) -> float | None:
    text = match[0].upper()
    if text in {"OFF", "FALSE"}:
        return 0.0
    try:
        seconds = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        # A day or an hour that does not exist.
        return None
    return seconds if 0 < seconds < _END_OF_MOMENTS else None


def _size(match: re.Match[str]) -> int | None:
    # As in Spring, a limit of 0 is refused. Later code would take it for no limit.
    return int(match[1]) * _UNITS[(match[2] or "").upper()] or None


TEXT: Final[ValueType[str]] = ValueType(
    "a text", r"(?s:.*)", lambda match: match[0], ("number", "boolean", "null")
)
"""Any single value. YAML's numbers and truth values are read as they are written."""

FLAG: Final[ValueType[bool]] = ValueType(
    "true or false",
    f"{any_case('true')}|{any_case('false')}",
    lambda match: match[0].lower() == "true",
    ("boolean",),
)
CAPACITY: Final[ValueType[int]] = ValueType(
    "a whole number from 0",
    r"\d{1,9}",
    lambda match: int(match[0]),
    ("integer",),
    {"minimum": 0, "maximum": _MAX_NUMBER},
)
DURATION: Final[ValueType[float]] = ValueType(
    "seconds from 0.001, or 90s, 4m, 1h",
    r"(?!0+(?:\.0+)?(?:ms|s|m|h)?$|0+\.\d+ms$)(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?",
    _duration,
    ("number",),
    {"minimum": _MIN_SECONDS, "maximum": 10**9},
)
"""In seconds."""

CHALLENGE_TIMEOUT: Final[ValueType[float]] = ValueType(
    "seconds from 0.001 to 5, or 500ms, 2s",
    r"(?!0+(?:\.0+)?s?$)([0-4](?:\.\d{1,3})?|5(?:\.0{1,3})?)(s)?|([1-9]\d{0,2}|[1-4]\d{3}|5000)ms",
    lambda match: float(match[1]) if match[1] else float(match[3]) / 1000,
    ("number",),
    {"minimum": _MIN_SECONDS, "maximum": 5},
)
"""In seconds. The place is kept for ten seconds while the question is asked, see ``reserve.lua``."""

TIME: Final[ValueType[float]] = ValueType(
    "seconds from 0, or 90s, 4m, 1h",
    r"(?!0+\.\d+ms$)(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?",
    lambda match: float(match[1]) * _SECONDS[match[2]],
    ("number",),
    {"minimum": 0, "maximum": 10**9},
)
"""In seconds; 0 switches something off."""

RATE: Final[ValueType[str]] = ValueType(
    "a whole number from 1 to 9999999 per s, m or h, as 120/m, or off",
    rf"[1-9]\d{{0,6}}/[smh]|{any_case('off')}|{any_case('false')}",
    lambda match: match[0] if "/" in match[0] else "off",
    ("boolean",),
    {"not": {"const": True}},
)
"""How many users a room admits. YAML reads ``off`` as false."""

MOMENT: Final[ValueType[float]] = ValueType(
    "a moment with its zone, as 2026-12-01T20:00:00+09:00 or 2026-12-01T11:00:00Z, before the year 10000 in UTC, "
    "or off",
    rf"\d{{4}}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{{1,3}})?)?(?:[Zz]|[+-]\d\d:?\d\d)|{any_case('off')}"
    rf"|{any_case('false')}",
    _moment,
    ("boolean",),
    {"not": {"const": True}},
)
"""In epoch seconds; 0 for none. YAML reads ``off`` as false."""

OPENING_ORDER: Final[ValueType[Literal["draw", "arrival"]]] = ValueType(
    "draw or arrival",
    f"{any_case('draw')}|{any_case('arrival')}",
    lambda match: "draw" if match[0].lower() == "draw" else "arrival",
)

BEACON: Final[ValueType[str]] = ValueType(
    "a text of 1 to 200 characters without line breaks",
    r"[^\x00-\x1f\x7f]{1,200}",
    lambda match: match[0],
    ("number",),
)
"""The name of a public random value."""

RELINEUP: Final[ValueType[str]] = ValueType(
    "back or keep", f"{any_case('back')}|{any_case('keep')}", lambda match: match[0].lower()
)
LINEUP: Final[ValueType[str]] = ValueType(
    "explicit or implicit", f"{any_case('explicit')}|{any_case('implicit')}", lambda match: match[0].lower()
)
COUNT: Final[ValueType[int]] = CAPACITY
"""0 switches a bound off."""
BALANCE: Final[ValueType[str]] = ValueType(
    "round-robin, least-requests or hash", "round-robin|least-requests|hash", lambda match: match[0]
)
CHECK_INTERVAL: Final[ValueType[float]] = ValueType(
    "seconds from 0.1, or 500ms, 10s, 1m",
    r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?",
    lambda match: seconds if (seconds := float(match[1]) * _SECONDS[match[2]]) >= _MIN_INTERVAL else None,
    ("number",),
    {"minimum": 0.1, "maximum": 10**9},
)
"""In seconds. A service that is asked more often has work with the checks alone."""
CHECK_PATH: Final[ValueType[str]] = ValueType(
    "a path that begins with /, as /health, with a query or without",
    r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,500}(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,500})?",
    lambda match: match[0],
)
HASH_KEY: Final[ValueType[str]] = ValueType(
    "header:NAME, cookie:NAME or user",
    r"user|(?:header|cookie):[A-Za-z0-9!#$%&'*+.^_`|~-]+",
    lambda match: match[0],
)
"""What requests that go to the same instance have in common."""
LINEUPS: Final[ValueType[int]] = ValueType(
    "a whole number from 0 to 1000",
    r"0*(?:1000|\d{1,3})",
    lambda match: int(match[0]),
    ("integer",),
    {"minimum": 0, "maximum": 1000},
)
"""In a minute; 0 switches the bound off."""
PLACES: Final = LINEUPS
"""0 switches the bound off."""
HTTP_ADDRESS: Final[ValueType[str]] = ValueType(
    "an http:// or https:// address without a user in it",
    r"https?://[A-Za-z0-9._~\[\]:-]{1,255}(?:/[!#-;=?-~]{0,1000})?",
    lambda match: match[0],
)
FAIL: Final[ValueType[bool]] = ValueType(
    "open or closed",
    f"{any_case('open')}|{any_case('closed')}",
    lambda match: match[0].lower() == "open",
)
"""What holds while a service does not answer."""
_SWITCH: Final = {"true": "on", "yes": "on", "false": "off", "no": "off"}
MODE: Final[ValueType[str]] = ValueType(
    "on, off or observe",
    "|".join(map(any_case, ("on", "off", "observe", *_SWITCH))),
    lambda match: _SWITCH.get(match[0].lower(), match[0].lower()),
    ("boolean",),
)
"""YAML reads ``on`` as true and ``off`` as false."""
IDENTITY: Final[ValueType[Literal["token", "visitor", "either"]]] = ValueType(
    "token, visitor or either",
    "|".join(map(any_case, ("token", "visitor", "either"))),
    lambda match: cast(Literal["token", "visitor", "either"], match[0].lower()),
)
"""Who may have a place in a room."""
PAGE_TITLE: Final[ValueType[str]] = ValueType(
    "a text of 1 to 100 characters without line breaks",
    r"[^\x00-\x1f\x7f]{1,100}",
    lambda match: match[0],
    ("number",),
)
PAGE_TEXT: Final[ValueType[str]] = ValueType(
    "a text of 1 to 1000 characters",
    r"[^\x00-\x08\x0b-\x1f\x7f]{1,1000}",
    lambda match: match[0].strip() or None,
    ("number",),
)
COLOUR: Final[ValueType[str]] = ValueType(
    "a colour as #1f4fd8", "#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", lambda match: match[0]
)
FILE_NAME: Final[ValueType[str]] = ValueType(
    "the path of a file, absolute or from the folder of the route file",
    r"[^\x00-\x1f\x7f]{1,1000}",
    lambda match: match[0],
)
SERVER_NAME: Final[ValueType[str]] = ValueType(
    "a host name or an IP address", r"[0-9A-Za-z._:-]{1,253}", lambda match: match[0]
)
PAGE_STATUS: Final[ValueType[int]] = ValueType(
    "503, 200, 202 or 429",
    "503|200|202|429",
    lambda match: int(match[0]),
    ("integer",),
    {"enum": [503, 200, 202, 429]},
)
OWN_PATH: Final[ValueType[str]] = ValueType(
    "a path of this site, as /login, with a query or without",
    r"/(?![/\\])[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,500}(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,500})?",
    lambda match: match[0],
)
WEBSOCKET: Final[ValueType[Literal["end", "outlive"]]] = ValueType(
    "end or outlive",
    "|".join(map(any_case, ("end", "outlive"))),
    lambda match: cast(Literal["end", "outlive"], match[0].lower()),
)
"""What becomes of a WebSocket when the session that let it in ends."""

_SPRING_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "": 0.001}


def _spring_duration(match: re.Match[str]) -> float | None:
    if match[1]:
        seconds = int(match[1]) * _SPRING_UNITS[(match[2] or "").lower()]
    else:
        hours, minutes, rest = (float(part or 0) for part in match.groups()[2:])
        seconds = hours * 3600 + minutes * 60 + rest
    return seconds if seconds >= _MIN_SECONDS else None


SPRING_DURATION: Final[ValueType[float]] = ValueType(
    "a number of milliseconds above 0, or 50ms, 2s, 1m, PT0.5S",
    r"(?!0+(?:[a-zA-Z]|$))(\d{1,9})(ms|[smhd])?|"
    r"(?![pP][tT]$)[pP][tT](?:(\d{1,6})[hH])?(?:(\d{1,6})[mM])?(?:(\d{1,9}(?:\.\d{1,9})?)[sS])?",
    _spring_duration,
    ("integer",),
    {"minimum": 1, "maximum": _MAX_NUMBER},
)
"""As Spring reads it, in seconds: a number without a unit is in milliseconds."""


SHARE: Final[ValueType[int]] = ValueType(
    "a number from 0.0001 to 1 with at most four decimals",
    r"(?!0?(?:\.0+)?$)(?:0?\.\d{1,4}|1(?:\.0{1,4})?)",
    lambda match: round(float(match[0]) * 10_000),
    ("number",),
    {"minimum": 0.0001, "maximum": 1},
)
"""In parts of 10,000."""
LANE_NAME: Final[ValueType[str]] = ValueType(
    "letters, digits, - and _, at most 40, and not default",
    r"(?!default$)[A-Za-z0-9][A-Za-z0-9_-]{0,39}",
    lambda match: match[0],
    ("integer", "boolean"),
    {"minimum": 0},
)


def decimal(lowest: float, highest: float) -> ValueType[float]:
    """A number, perhaps with a fraction."""

    def make(match: re.Match[str]) -> float | None:
        return value if lowest <= (value := float(match[0])) <= highest else None

    bounds = {"minimum": lowest, "maximum": highest}
    return ValueType(
        f"a number from {lowest:g} to {highest:g}", r"\d{1,9}(?:\.\d{1,9})?", make, ("number",), bounds
    )


ORDER: Final[ValueType[int]] = ValueType(
    "a whole number",
    r"[+-]?\d{1,10}",
    _order,
    ("integer",),
    {"minimum": _INT32.start, "maximum": _INT32.stop - 1},
)
TIMEOUT: Final[ValueType[int]] = ValueType(
    "a number of milliseconds above 0, or a negative one for none",
    r"-?0*[1-9]\d{0,8}",
    lambda match: int(match[0]),
    ("integer",),
    {"minimum": -_MAX_NUMBER, "maximum": _MAX_NUMBER, "not": {"const": 0}},
)
MAX_AGE: Final[ValueType[int]] = ValueType(
    "a number of seconds",
    r"(?:[pP][tT])?(\d{1,9})([sSmMhH])?",
    lambda match: int(match[1]) * {"s": 1, "m": 60, "h": 3600}[(match[2] or "s").lower()],
    ("integer",),
    {"minimum": 0, "maximum": _MAX_NUMBER},
)
SIZE: Final[ValueType[int]] = ValueType(
    "a size such as 500, 64KB or 5MB, greater than 0",
    r"(?!0+(?!\d))(\d{1,12})\s*([bB]|[kKmMgG][bB])?",
    _size,
    ("integer",),
    {"minimum": 1, "maximum": 10**12 - 1},
)
"""In bytes."""

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_BEFORE: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}"
_AFTER: Final = r"[A-Za-z0-9_-]{0,8}"
_VARIABLE: Final = r"(?:[^{}\s:]{1,64}|query\.[^{}\s:]{1,58}:(?:[^{}\s]|\{[^{}\s]*\}){1,100})"
GATE_ROOM: Final[ValueType[str]] = ValueType(
    "letters, digits, - and _, at most 64; or at most 16 of them before and 8 after a {variable} of the path, a "
    "{query.parameter} or a {query.parameter:regex}",
    rf"{_NAME}|{_BEFORE}\{{{_VARIABLE}\}}{_AFTER}",
    lambda match: match[0],
    ("integer", "boolean"),
    {"minimum": 0},
)
ROOM_ENTRY: Final[ValueType[str]] = ValueType(
    "letters, digits, - and _, at most 64; or at most 16 of them before and 8 after a * for what gates fill in",
    rf"{_NAME}|{_BEFORE}\*{_AFTER}",
    lambda match: match[0],
    ("integer", "boolean"),
    {"minimum": 0},
)
ROOM_NAME: Final[ValueType[str]] = ValueType(
    "letters, digits, - and _, at most 64",
    _NAME,
    lambda match: match[0],
    ("integer", "boolean"),
    {"minimum": 0},
)
