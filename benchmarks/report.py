"""Figures as tables: medians, ratios to a reference row, targets. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: complete answers within ``seconds``, and what they cost in seconds of CPU.

    ``cpu`` is that of the measured process alone, ``redis_cpu`` that of the Redis behind it. ``failed`` counts
    answers that were no success, and those that never came.
    """

    answers: int
    seconds: float
    cpu: float
    redis_cpu: float = 0.0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per answer."""
        return self.cpu / max(self.answers, 1) * 1e6

    @property
    def busy(self) -> float:
        """Which part of one core the process had."""
        return self.cpu / self.seconds


@dataclass(slots=True)
class Row:
    """One measured thing; ``skipped`` says why there are no samples of it."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What ``row`` is to reach at least, as a ratio of CPU to the reference row."""

    row: str
    at_least: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure with what it is to be at most (or ``at_least``), and what it should be in the end."""

    name: str
    value: float
    target: float
    goal: float | None = None
    at_least: bool = False

    def reaches(self, bound: float) -> bool:
        """Whether the figure is on the right side of ``bound``."""
        return self.value >= bound if self.at_least else self.value <= bound

    @property
    def verdict(self) -> str:
        """``goal``, ``target`` or ``missed``: what is reached."""
        if self.goal is not None and self.reaches(self.goal):
            return "goal"
        return "target" if self.reaches(self.target) else "missed"


@dataclass(frozen=True, slots=True)
class Table:
    """Any table: a line of ``columns``, lines of cells, and notes below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()

    def as_text(self) -> str:
        """The table for people; the first column is left-aligned, the others are numbers."""
        lines = [list(self.columns), *([_cell(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]
        shown = [
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        table = ["", *shown] if self.columns else []
        return "\n".join([self.title, *table, *(f"  {note}" for note in self.notes)])

    def as_json(self) -> dict[str, Any]:
        """The table for machines: one object per row, by column."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


def limits_table(title: str, limits: Sequence[Limit], notes: Sequence[str] = ()) -> Table:
    """Figures beside what they are to be."""
    cells = [
        [
            one.name,
            round(one.value, 2),
            f"{'≥' if one.at_least else '≤'} {one.target:,g}",
            None if one.goal is None else f"{one.goal:,g}",
            one.verdict,
        ]
        for one in limits
    ]
    return Table(title, ("", "measured", "target", "goal", "reached"), cells, notes)


def rate_table(title: str, rows: Sequence[Row], reference: str, target: Target | None = None) -> Table:
    """Rates and CPU of all rows, and their ratios to the row named ``reference`` (above 1: better than it).

    Rounds are paired: a ratio is the median of the rounds' ratios, so what slows a whole round down, such as
    other work on the machine, cancels out.
    """
    against = next((row for row in rows if row.name == reference), Row(reference))
    columns = ("", "req/s", "µs CPU", "of a core", "Redis µs", "rate ratio", "CPU ratio")
    cells: list[list[Any]] = []
    notes: list[str] = []
    for row in rows:
        if row.skipped or not row.samples:
            notes.append(f"{row.name}: skipped, {row.skipped or 'not measured'}")
            continue
        redis = _median([one.redis_cpu / max(one.answers, 1) * 1e6 for one in row.samples])
        cells.append(
            [
                row.name,
                round(_median([one.rate for one in row.samples])),
                round(_median([one.cpu_us for one in row.samples]), 1),
                round(_median([one.busy for one in row.samples]), 2),
                round(redis, 1) if redis else None,
                _rounded(rate_ratio(row, against)),
                _rounded(cpu_ratio(row, against)),
            ]
        )
        if failed := sum(one.failed for one in row.samples):
            notes.append(f"{row.name}: {failed} answers were no success; its figures mean nothing")
    if target is not None:
        notes.append(_verdict(target, rows, against))
    return Table(title, columns, cells, notes)


def rate_ratio(row: Row, reference: Row) -> float | None:
    """How many times as many answers a second as the reference; None without samples of both."""
    return _paired(row, reference, lambda one, other: one.rate / other.rate)


def cpu_ratio(row: Row, reference: Row) -> float | None:
    """How many answers for the CPU of one of the reference's; None without samples of both."""
    return _paired(row, reference, lambda one, other: other.cpu_us / one.cpu_us)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` (0 to 1) of all are, by nearest rank. Raises ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _paired(row: Row, reference: Row, ratio: Any) -> float | None:
    pairs = [
        ratio(one, other)
        for one, other in zip(row.samples, reference.samples, strict=False)
        if min(one.answers, other.answers) > 0 and min(one.cpu, other.cpu) > 0
    ]
    return _median(pairs) if pairs else None


def _verdict(target: Target, rows: Sequence[Row], against: Row) -> str:
    row = next((row for row in rows if row.name == target.row), Row(target.row))
    reached = cpu_ratio(row, against)
    wanted = f"target: {target.row} ≥ {target.at_least:g} × {against.name}, by CPU"
    if reached is None:
        return f"{wanted}: not measured"
    return f"{wanted}: {reached:.2f}, {'met' if reached >= target.at_least else 'missed'}"


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
