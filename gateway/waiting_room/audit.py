"""The audit of a room: what operators have changed. Written by the scripts, in the call that makes the change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.waiting_room.lanes import shown_lanes
from gateway.waiting_room.rules import DEFAULTS, MILLISECOND_NAMES, RULE_NAMES, moment_text, shown

MAX_ENTRIES: Final = 1000
"""Entries that a room keeps; ``includes/audit.lua`` has the same number."""


class AuditEntry(NamedTuple):
    """One change of an operator.

    ``at`` in epoch milliseconds. ``act``: ``set``, ``lift``, ``pause``, ``resume``, ``close``, ``reopen``,
    ``sold-out``, ``empty``, ``remove`` or ``beacon``. ``setting`` is empty unless the change is of a setting, and
    ``user`` unless it is of a user. ``before`` and ``after`` are written as an operator would write them.
    """

    at: int
    by: str
    act: str
    setting: str
    user: str
    before: str
    after: str
    reason: str


def parse_audit(reply: Sequence[Any]) -> list[AuditEntry]:
    """The entries of an ``XREVRANGE``, in its order. What is missing in an entry is empty."""
    return [_entry(fields or ()) for _, fields in reply]


def _entry(fields: Sequence[bytes]) -> AuditEntry:
    texts = [field.decode("utf-8", "replace") for field in fields]
    found = dict(zip(texts[::2], texts[1::2], strict=False))
    setting = found.get("setting", "")
    at = found.get("at", "")
    return AuditEntry(
        int(at) if at.isascii() and at.isdecimal() else 0,
        found.get("by", ""),
        found.get("act", "").replace("_", "-"),
        _SETTINGS.get(setting, setting),
        found.get("user", ""),
        _value(setting, found.get("from", "")),
        _value(setting, found.get("to", "")),
        found.get("reason", ""),
    )


_SETTINGS: Final[Mapping[str, str]] = {"duration_ms": "duration"}
"""Settings with another name in Redis than in the route file."""

_SWITCH: Final[Mapping[str, str]] = {"0": "false", "1": "true"}


def _value(setting: str, stored: str) -> str:
    if setting == "paused":
        return _SWITCH.get(stored, stored)
    if setting == "lanes":
        return shown_lanes(stored)
    if setting in RULE_NAMES and stored == "":
        return shown(setting, getattr(DEFAULTS, setting))
    if (setting == "duration_ms" or setting in MILLISECOND_NAMES) and stored.isascii() and stored.isdecimal():
        return shown(setting, int(stored) / 1000)
    return _UNTIL.sub(lambda until: moment_text(int(until[0]) / 1000), stored) if not setting else stored


_UNTIL: Final = re.compile(r"(?<=^closed until )[0-9]{1,15}$")
