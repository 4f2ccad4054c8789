"""Statuses of answers, by number and by the names that Spring has for them."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

# Names in Spring's HttpStatus that Python lacks. Spring had the first four up to version 6.
_ALIASES: Final = {
    "MOVED_TEMPORARILY": 302,
    "INSUFFICIENT_SPACE_ON_RESOURCE": 419,
    "METHOD_FAILURE": 420,
    "DESTINATION_LOCKED": 421,
    "PAYLOAD_TOO_LARGE": 413,
    "CONTENT_TOO_LARGE": 413,
    "URI_TOO_LONG": 414,
    "REQUESTED_RANGE_NOT_SATISFIABLE": 416,
    "I_AM_A_TEAPOT": 418,
    "UNPROCESSABLE_CONTENT": 422,
    "BANDWIDTH_LIMIT_EXCEEDED": 509,
}
WANTED: Final = "a status from 200 to 999 or its name"
SERIES: Final = {
    "INFORMATIONAL": 1,
    "SUCCESSFUL": 2,
    "REDIRECTION": 3,
    "CLIENT_ERROR": 4,
    "SERVER_ERROR": 5,
}
"""First digits of statuses, by Spring's names."""


def status_number(text: str) -> int | None:
    """The status that a text names, as a number or as Spring's name (``NOT_FOUND``); None if it names none.

    Interim statuses are none, also by their names: clients would take the end of its head for the end of the answer's
    head.
    """
    text = text.upper()
    named = HTTPStatus[text].value if text in HTTPStatus.__members__ else _ALIASES.get(text, 0)
    number = int(text) if re.fullmatch("[0-9]{3}", text) else named
    return number if 200 <= number <= 999 else None


def spring_name(status: int) -> str:
    """The status as Spring writes it: ``500 INTERNAL_SERVER_ERROR``; the number alone if it has no name."""
    names = {status.value: name for name, status in HTTPStatus.__members__.items()}
    name = names.get(status) or next((name for name, number in _ALIASES.items() if number == status), "")
    return f"{status} {name}".rstrip()
