"""Texts as a terminal shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

_END_OF_DATES_MS: Final = 253_402_300_800_000
"""The end of the year 9999."""


def escaped(text: str) -> str:
    """The text without characters that a terminal obeys or does not show, such as those that change the direction of
    the text. They are escaped as in JSON. Line breaks stay."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1].replace("\x7f", "\\u007f")
        for each in text
    )


def moment(milliseconds: int) -> str:
    """A time in epoch milliseconds as ISO 8601 to the second, in UTC. One that is no date as the number that it is."""
    if milliseconds >= _END_OF_DATES_MS:
        return str(milliseconds)
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
