"""``gateway room report``: a room's numbers minute by minute, as CSV and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.cli.texts import escaped, moment

COLUMNS: Final = {
    "minute": "minute",
    "arrivals": "arrivals",
    "admissions": "admissions",
    "wait_p50": "waitP50",
    "wait_p95": "waitP95",
    "left": "left",
    "parked": "parked",
    "evicted": "evicted",
    "estimate_error": "estimateError",
}
"""The columns, and the members of the answer that they show."""


def as_csv(minutes: Sequence[dict[str, Any]]) -> str:
    """A line of names, and a line for each minute. What is unknown is empty."""
    return "\n".join(",".join(row) for row in _rows(minutes, unknown=""))


def as_table(minutes: Sequence[dict[str, Any]]) -> str:
    """The same in columns."""
    rows = _rows(minutes, unknown="-")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def _rows(minutes: Sequence[dict[str, Any]], *, unknown: str) -> list[list[str]]:
    rows = [list(COLUMNS)]
    for minute in minutes:
        at, *values = (minute.get(member) for member in COLUMNS.values())
        texts = (unknown if value is None else escaped(str(value)) for value in values)
        rows.append([moment(at or 0), *texts])
    return rows
