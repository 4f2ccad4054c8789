"""Texts as a terminal shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime


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
    """A time in epoch milliseconds as ISO 8601 to the second, in UTC."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
