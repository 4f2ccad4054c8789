"""The live view: a picture in a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.demo.seen import Outcome
from gateway.demo.snapshot import Snapshot

BLOCKS = " ▁▂▃▄▅▆▇█"
NEWS = 6
LINE_SECONDS = 3.0


def spark(counts: Sequence[int]) -> str:
    """One character per count, as high as the root of its share of the greatest.

    The root, because the room fills in the first second and everything after that would be flat; rounded up,
    so that a single admission is still seen.
    """
    top = max(counts, default=0) or 1
    return "".join(BLOCKS[math.ceil(math.sqrt(count / top) * (len(BLOCKS) - 1))] for count in counts)


def milliseconds(seconds: float | None) -> str:
    """A latency for people."""
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"


def whole_seconds(seconds: float | None) -> str:
    """A wait for people."""
    return "–" if seconds is None else f"{seconds:.1f} s"


def _bar(value: int, full: int, width: int, style: str) -> Text:
    length = 0 if full <= 0 else min(width, -(-value * width // full))
    bar = Text("█" * length, style)
    return bar.append("░" * (width - length), "grey37")


def _per_second(now: Snapshot) -> float:
    recent = now.rate[-10:]
    return sum(recent) / max(1.0, min(now.elapsed, len(recent)))


def picture(now: Snapshot, width: int) -> RenderableType:
    """The whole view, for a terminal ``width`` columns wide."""
    bar = max(10, min(60, width - 40))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row("Room", _bar(now.inside, now.capacity, bar, "green"), f"{now.inside} of {now.capacity} in")
    grid.add_row("Line", _bar(now.waiting, now.people, bar, "yellow"), f"{now.waiting} waiting")
    grid.add_row("Through", _bar(now.done, now.people, bar, "cyan"), f"{now.done} of {now.people}")
    recent = now.rate[-bar:]
    grid.add_row("Let in", Text(spark(recent).rjust(bar), "magenta"), f"{_per_second(now):.1f} per second")
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="bold", no_wrap=True)
    figures.add_row("Waits", f"p50 {whole_seconds(now.wait_p50)}", f"p95 {whole_seconds(now.wait_p95)}")
    figures.add_row(
        "Freed slot",
        f"p50 {milliseconds(now.handover_p50)}",
        f"p95 {milliseconds(now.handover_p95)}",
        "until the next one hears of it",
    )
    figures.add_row(
        "Requests",
        f"p50 {milliseconds(now.latency_p50)}",
        f"p95 {milliseconds(now.latency_p95)}",
        f"{now.requests} answered, {now.events} stream events",
    )
    news = [Text.assemble((f"{at:6.1f} s  ", "grey50"), text) for at, text in now.happened[-NEWS:]]
    news += [Text("")] * (NEWS - len(news))
    for line in news:
        line.truncate(max(20, width - 4), overflow="ellipsis")
    title = f"One night only: {now.people} people, room for {now.capacity} – {now.elapsed:.0f} s of {now.seconds:g} s"
    body = Group(grid, Text(""), figures, _so_far(now), _rules(now), Text(""), *news)
    return Panel(body, title=title, border_style="blue")


def _so_far(now: Snapshot) -> Text:
    told = ", ".join(f"{now.outcomes[outcome]} {outcome}" for outcome in Outcome if now.outcomes.get(outcome))
    line = Text.assemble(("So far      ", "bold"), told or "nobody is through yet")
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def _rules(now: Snapshot) -> Text:
    line = Text.assemble(("Rules       ", "bold"), f"{now.checks} checks, ")
    line.append(f"{now.broken} broken", "bold red" if now.broken else "bold green")
    if now.latest_broken:
        line.append(f"  {now.latest_broken}", "red")
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def one_line(now: Snapshot) -> str:
    """The same, for a log."""
    return (
        f"{now.elapsed:5.1f} s  in {now.inside}/{now.capacity}  waiting {now.waiting}  "
        f"through {now.done}/{now.people}  bought {now.outcomes.get(Outcome.BOUGHT, 0)}  "
        f"let in {_per_second(now):.1f}/s  wait p50 {whole_seconds(now.wait_p50)} p95 {whole_seconds(now.wait_p95)}  "
        f"freed slot taken p50 {milliseconds(now.handover_p50)}  "
        f"request p50 {milliseconds(now.latency_p50)} p95 {milliseconds(now.latency_p95)}  "
        f"{now.checks} checks, {now.broken} broken"
    )


class View(Protocol):
    """Something that shows snapshots; ``every`` is how many seconds apart it likes them."""

    every: float

    def show(self, now: Snapshot) -> None:
        """Show the latest."""


class _Picture:
    every = 0.25

    def __init__(self, live: Live, console: Console) -> None:
        self._live = live
        self._console = console

    def show(self, now: Snapshot) -> None:
        self._live.update(picture(now, self._console.width), refresh=True)


class _Lines:
    every = LINE_SECONDS

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0.0

    def show(self, now: Snapshot) -> None:
        for at, text in now.happened:
            if at > self._told:
                self._console.print(f"{at:5.1f} s  {text}", soft_wrap=True)
                self._told = at
        self._console.print(one_line(now), soft_wrap=True)


@contextmanager
def open_view(console: Console) -> Iterator[View]:
    """The picture where ``console`` is a terminal, lines where it is not."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    # Painted only when asked to: rich's own refreshing thread would compete with the crowd for the time.
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _Picture(live, console)
