"""The settings of a room beside capacity and duration, and the text in which the Lua scripts get them.

A text names only what differs from the built-in defaults, as ``absent=30000 hold=0 rate=120/m``. ``includes/room.lua``
has the same names and defaults.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from gateway.waiting_room.lanes import NO_LANES, lanes_text, parse_lanes, shown_lanes

SCHEMA: Final = 2
"""The form in which a room's keys are; ``includes/room.lua`` has the same number."""

MAX_MOMENT: Final = 253_402_300_800
"""The end of the year 9999, in epoch seconds."""

RATE_OFF: Final = "off"
RATE_PATTERN: Final = r"([1-9]\d{0,6})/([smh])"

MOMENT_OFF: Final = "off"
STOCK_OFF: Final = "off"

MAX_LINEUPS: Final = 1000
"""The highest ``lineups_per_minute``; ``includes/room.lua`` has the same number."""

Mode = Literal["on", "off", "observe"]
"""What the gate of a room does: it asks the room, it lets everyone pass without asking, or it asks and lets everyone
pass."""

Value = float | int | str
"""A time or a moment in seconds, a number of users or calls, or a text."""


@dataclass(frozen=True, slots=True)
class RoomRules:
    """How a room treats its users. Times are in seconds.

    ``absent``: a waiting user who was not seen for so long is parked; 0: never. ``hold``: a parked user keeps the
    ticket for so long; 0: absent users are removed at once. ``max_session``: a session ends so long after admission,
    however active the user is; 0: never. ``claim``: a promoted user must make a gated call within so long, or loses the
    slot; 0: off. ``rate``: admissions never exceed it; as ``120/m``, or ``off``. ``history``: what happened to a user
    is kept for so long after slot or place ended; 0: not at all. ``relineup``: lining up again puts a
    waiting user to the ``back``, or lets the user ``keep`` the place. ``lineup``: a user without a place who makes a
    gated call is refused (``explicit``) or lined up (``implicit``). ``max_waiting``: with so many users waiting,
    parked and registered no other user joins the line; 0: no bound. ``lineups_per_minute``: a user lines up so often
    in any 60 s; 0: no bound. ``mode``: see ``Mode``. ``opens_at`` and ``closes_at``: before the one and from the
    other on the room takes no lineups; in epoch seconds, 0: none. ``prequeue``: so long before ``opens_at`` users begin
    to register; 0: they do not. ``lanes``: the lanes beside ``default`` with their shares in parts of 10,000, as
    ``members:3000,gold:2000``; see ``lanes_text``.
    """

    absent: float = 60.0
    hold: float = 1800.0
    max_session: float = 0.0
    claim: float = 0.0
    rate: str = RATE_OFF
    history: float = 3600.0
    relineup: str = "back"
    lineup: str = "explicit"
    max_waiting: int = 0
    lineups_per_minute: int = 0
    mode: str = "on"
    opens_at: float = 0.0
    closes_at: float = 0.0
    prequeue: float = 0.0
    lanes: str = NO_LANES

    def as_text(self) -> str:
        """The text for the scripts."""
        values: dict[str, Value] = {one.name: getattr(self, one.name) for one in fields(self)}
        return change_text(
            {name: value for name, value in values.items() if value != getattr(DEFAULTS, name)}
        )


DEFAULTS: Final = RoomRules()
"""The built-in values."""

RULE_NAMES: Final = tuple(one.name for one in fields(RoomRules))
COUNT_NAMES: Final = ("max_waiting", "lineups_per_minute")
"""Those whose values are whole numbers."""
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "relineup": ("back", "keep"),
    "lineup": ("explicit", "implicit"),
    "mode": get_args(Mode),
}
"""Those whose values are words, and which."""
MOMENT_NAMES: Final = ("opens_at", "closes_at")
"""Those whose values are moments."""
STRUCTURAL_NAMES: Final = ("prequeue", "lanes")
"""Those that operators can't change: they are in the route file only."""
MILLISECOND_NAMES: Final = tuple(
    name for name in RULE_NAMES if name not in {"rate", "lanes", *COUNT_NAMES, *WORDS}
)
"""Those that the scripts have in milliseconds."""
TIME_NAMES: Final = tuple(
    name for name in MILLISECOND_NAMES if name not in {*MOMENT_NAMES, *STRUCTURAL_NAMES}
)
"""Those whose values are times that operators may change."""


@dataclass(frozen=True, slots=True)
class Prequeue:
    """How registered users are put in line at the opening. ``beacon``: the name of the public random value that a draw
    waits for; empty for none."""

    order: Literal["draw", "arrival"] = "arrival"
    beacon: str = ""


def change_text(changes: Mapping[str, Value | None]) -> str:
    """Settings to change, as text; None lifts what an operator has set."""
    parts = (f"{name}={_text(name, value)}" for name, value in sorted(changes.items()))
    return " ".join(parts)


def parse_rules(text: str) -> dict[str, Value]:
    """The settings of a text, by name. Ignores what is unknown or unusable, as the scripts do."""
    found: dict[str, Value] = {}
    for part in text.split():
        name, _, value = part.partition("=")
        if name in MILLISECOND_NAMES and value.isascii() and value.isdecimal():
            found[name] = int(value) / 1000
        elif name in COUNT_NAMES and value.isascii() and value.isdecimal():
            found[name] = int(value)
        elif name == "lanes":
            with contextlib.suppress(ValueError):
                found[name] = lanes_text(parse_lanes(value))
        elif value in WORDS.get(name, ()) or (name == "rate" and _is_rate(value)):
            found[name] = value
    return found


def parse_stock(text: bytes | None) -> tuple[Value, str]:
    """How many things are left to sell, as Redis has it, and who said so: ``operator`` or ``service``. Without a usable
    number it is ``off``."""
    number, _, by = (text or b"").decode("utf-8", "replace").partition(" ")
    return (int(number), by) if number.isascii() and number.isdecimal() else (STOCK_OFF, "default")


def shown(name: str, value: Value) -> str:
    """A setting as the route file has it: ``60s``, ``120/m``, ``2026-12-01T11:00:00Z``, ``off``."""
    if name == "lanes":
        return shown_lanes(str(value))
    if isinstance(value, str) or name in COUNT_NAMES:
        return str(value)
    if name in MOMENT_NAMES:
        return moment_text(value) if value else MOMENT_OFF
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


def moment_text(seconds: float) -> str:
    """A moment in UTC, with milliseconds if there are any."""
    if not 0 <= seconds < MAX_MOMENT:
        return f"{seconds:.0f}"
    at = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    precision = "milliseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=precision).replace("+00:00", "Z")


def _is_rate(value: str) -> bool:
    return value == RATE_OFF or re.fullmatch(RATE_PATTERN, value, re.ASCII) is not None


def _text(name: str, value: Value | None) -> str:
    """Of a time, whole milliseconds. A time above 0 is at least one, because 0 has a meaning of its own."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if name in COUNT_NAMES:
        return str(value)
    return str(max(1, round(value * 1000)) if value > 0 else 0)
