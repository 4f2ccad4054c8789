"""What the demo shows: instructions, a live view (a picture in a terminal, else log lines) and the summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.demo.observations import Outcome
from gateway.demo.observer import describe
from gateway.demo.plan import Plan
from gateway.demo.rules import Rule, Verdict
from gateway.demo.statistics import Snapshot, Statistics, percentile

BLOCKS = " ▁▂▃▄▅▆▇█"
NEWS = 6
LINE_SECONDS = 3.0
BROKEN_SHOWN = 20
# Half of the freed slots must be passed on within this many seconds, if enough of them were measured.
# If no event announces an admission, the next status update does, a second or two later.
PASSED_ON_WITHIN, ENOUGH_TO_JUDGE = 0.25, 20


def sparkline(counts: Sequence[int]) -> str:
    """One character per count. Its height is the root of the share of the greatest count, rounded up.

    The root, because the room fills in the first second and everything after that would be flat. Rounded up, so that a
    single admission is visible.
    """
    top = max(counts, default=0) or 1
    return "".join(BLOCKS[math.ceil(math.sqrt(count / top) * (len(BLOCKS) - 1))] for count in counts)


def format_milliseconds(seconds: float | None) -> str:
    """A latency in milliseconds; a dash for None."""
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"


def format_seconds(seconds: float | None) -> str:
    """A wait in seconds; a dash for None."""
    return "–" if seconds is None else f"{seconds:.1f} s"


def _bar(value: int, full: int, width: int, style: str) -> Text:
    length = 0 if full <= 0 else min(width, -(-value * width // full))
    bar = Text("█" * length, style)
    return bar.append("░" * (width - length), "grey37")


def _per_second(now: Snapshot) -> float:
    recent = now.admissions_by_second[-10:]
    return sum(recent) / max(1.0, min(now.elapsed, len(recent)))


def render(now: Snapshot, width: int) -> RenderableType:
    """The live view for a terminal of ``width`` columns."""
    bar = max(10, min(60, width - 40))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row("Room", _bar(now.inside, now.capacity, bar, "green"), f"{now.inside} of {now.capacity} in")
    grid.add_row("Line", _bar(now.waiting, now.people, bar, "yellow"), f"{now.waiting} waiting")
    grid.add_row("Through", _bar(now.done, now.people, bar, "cyan"), f"{now.done} of {now.people}")
    recent = now.admissions_by_second[-bar:]
    grid.add_row(
        "Let in", Text(sparkline(recent).rjust(bar), "magenta"), f"{_per_second(now):.1f} per second"
    )
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="bold", no_wrap=True)
    figures.add_row("Waits", f"p50 {format_seconds(now.wait_p50)}", f"p95 {format_seconds(now.wait_p95)}")
    figures.add_row(
        "Freed slot",
        f"p50 {format_milliseconds(now.handover_p50)}",
        f"p95 {format_milliseconds(now.handover_p95)}",
        "until the next one hears of it",
    )
    figures.add_row(
        "Requests",
        f"p50 {format_milliseconds(now.latency_p50)}",
        f"p95 {format_milliseconds(now.latency_p95)}",
        f"{now.requests} answered, {now.events} stream events",
    )
    news = [Text.assemble((f"{at:6.1f} s  ", "grey50"), text) for at, text in now.news[-NEWS:]]
    news += [Text("")] * (NEWS - len(news))
    for line in news:
        line.truncate(max(20, width - 4), overflow="ellipsis")
    title = f"One night only: {now.people} people, room for {now.capacity} – {now.elapsed:.0f} s of {now.seconds:g} s"
    body = Group(grid, Text(""), figures, _outcomes_line(now), _rules_line(now), Text(""), *news)
    return Panel(body, title=title, border_style="blue")


def _outcomes_line(now: Snapshot) -> Text:
    told = ", ".join(f"{now.outcomes[outcome]} {outcome}" for outcome in Outcome if now.outcomes.get(outcome))
    line = Text.assemble(("So far      ", "bold"), told or "nobody is through yet")
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def _rules_line(now: Snapshot) -> Text:
    line = Text.assemble(("Rules       ", "bold"), f"{now.checks} checks, ")
    line.append(f"{now.broken} broken", "bold red" if now.broken else "bold green")
    if now.latest_broken:
        line.append(f"  {now.latest_broken}", "red")
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def log_line(now: Snapshot) -> str:
    """The live view as one line."""
    return (
        f"{now.elapsed:5.1f} s  in {now.inside}/{now.capacity}  waiting {now.waiting}  "
        f"through {now.done}/{now.people}  bought {now.outcomes.get(Outcome.BOUGHT, 0)}  "
        f"let in {_per_second(now):.1f}/s  wait p50 {format_seconds(now.wait_p50)} p95 {format_seconds(now.wait_p95)}  "
        f"freed slot taken p50 {format_milliseconds(now.handover_p50)}  "
        f"request p50 {format_milliseconds(now.latency_p50)} p95 {format_milliseconds(now.latency_p95)}  "
        f"{now.checks} checks, {now.broken} broken"
    )


class Display(Protocol):
    """Shows snapshots, one in ``every`` seconds."""

    every: float

    def show(self, now: Snapshot) -> None:
        """Show the latest snapshot."""


class _LiveDisplay:
    every = 0.25

    def __init__(self, live: Live, console: Console) -> None:
        self._live = live
        self._console = console

    def show(self, now: Snapshot) -> None:
        self._live.update(render(now, self._console.width), refresh=True)


class _LogDisplay:
    every = LINE_SECONDS

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0.0

    def show(self, now: Snapshot) -> None:
        for at, text in now.news:
            if at > self._told:
                self._console.print(f"{at:5.1f} s  {text}", soft_wrap=True)
                self._told = at
        self._console.print(log_line(now), soft_wrap=True)


@contextmanager
def open_display(console: Console) -> Iterator[Display]:
    """A live picture if ``console`` is a terminal, else log lines."""
    if not console.is_terminal:
        yield _LogDisplay(console)
        return
    # No automatic refresh: rich's own thread would compete with the crowd for the processor.
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _LiveDisplay(live, console)


def instructions(base: str, token: str, operator_token: str, addresses: Mapping[str, str]) -> str:
    """What there is to open in a browser, and how a user with a shell joins the line: lines to paste."""
    behind = "\n".join(f"  {name:<26}{address}" for name, address in addresses.items())
    return f"""\
The gateway listens at {base} (how it is: {base}/actuator/health). Open in a browser:

  Wait in line      {base}/box-office
  Run the sale      {base}/desk   (sign in with {operator_token})
  Read and try API  {base}/swagger-ui.html

Behind it:
{behind}

Join the line yourself. In another terminal, first

GW={base}
AUTH="Authorization: Bearer {token}"

then line up, listen until you are let in, ask, hold a seat, and leave the room or the line:

curl -sS -H "$AUTH" -X POST $GW/api/v1/queue/lineup
curl -sS -H "$AUTH" -N $GW/api/v1/queue/stream
curl -sS -H "$AUTH" $GW/api/v1/queue/status
curl -sS -H "$AUTH" -X POST $GW/api/v1/reservation-seats/7
curl -sS -H "$AUTH" -X DELETE $GW/api/v1/queue/allowed-in-token
curl -sS -H "$AUTH" -X DELETE $GW/api/v1/queue/waiting-token
"""


@dataclass(frozen=True, slots=True)
class ServiceTotals:
    """What the services observed: the most users provably in at once, requests without a user, seats sold."""

    peak: int
    without_user: int
    sold: int


def failures(
    plan: Plan, statistics: Statistics, verdict: Verdict, service_totals: ServiceTotals
) -> list[str]:
    """What went wrong: broken rules, lost people, or what only services can observe. Empty if nothing did."""
    lost, missing = statistics.outcomes[Outcome.LOST], plan.people - statistics.outcomes.total()
    faults = {
        f"breaches of rules: {len(verdict.broken)}": bool(verdict.broken),
        f"people who could not get in line: {lost}": lost > 0,
        f"people unaccounted for: {missing}": missing != 0,
        f"requests that reached a service without exactly one user: {service_totals.without_user}": (
            service_totals.without_user > 0
        ),
        f"services saw {service_totals.peak} in at once, room for {plan.limits.capacity}": (
            service_totals.peak > plan.limits.capacity
        ),
    }
    passed_on = percentile(statistics.handovers, 50)
    if passed_on is not None and len(statistics.handovers) >= ENOUGH_TO_JUDGE:
        faults[f"freed slots are passed on slowly: p50 {format_milliseconds(passed_on)}"] = (
            passed_on > PASSED_ON_WITHIN
        )
    return [fault for fault, holds in faults.items() if holds]


def summary(
    plan: Plan, statistics: Statistics, verdict: Verdict, service_totals: ServiceTotals, elapsed: float
) -> str:
    """The report at the end of a run."""
    wait, handover, latency = (
        {percent: percentile(values, percent) for percent in (50, 95)}
        for values in (statistics.waits, statistics.handovers, statistics.latencies)
    )
    lines = ["", f"After {elapsed:.1f} s (seed {plan.seed} brings the same crowd again):", ""]
    lines += _outcome_lines(plan, statistics)
    lines += [
        "",
        f"  waits        p50 {format_seconds(wait[50])}, "
        f"p95 {format_seconds(wait[95])}, "
        f"longest {format_seconds(max(statistics.waits, default=None))} ({len(statistics.waits)} had to wait)",
        f"  estimates    {_error_text(percentile(statistics.estimate_errors, 50))} of the real wait in the median "
        f"({len(statistics.estimate_errors)} shown to people who got in)",
        f"  let in       {len(statistics.admissions)}, {_admissions_per_second(statistics):.1f} per second",
        f"  freed slot   the next one heard of it after p50 {format_milliseconds(handover[50])}, "
        f"p95 {format_milliseconds(handover[95])} ({len(statistics.handovers)} measured)",
        f"  requests     {statistics.requests} answered, p50 {format_milliseconds(latency[50])}, "
        f"p95 {format_milliseconds(latency[95])}; {statistics.unanswered} without an answer; "
        f"{statistics.events} stream events",
        f"  turned away  {_join_counts(statistics.turned_away) or 'nobody'}",
        f"  services     at most {service_totals.peak} of {plan.limits.capacity} provably in at once; "
        f"{service_totals.without_user} requests without a user; {service_totals.sold} of {plan.seats} seats sold",
        "",
        *_rule_lines(statistics, verdict),
        "",
    ]
    counted = f"{len(Rule)} rules, {verdict.total} checks, {len(verdict.broken)} broken"
    faults = failures(plan, statistics, verdict, service_totals)
    lines.append(f"{counted}. FAILED: {'; '.join(faults)}." if faults else f"{counted}; nobody was lost.")
    return "\n".join(lines)


def _outcome_lines(plan: Plan, statistics: Statistics) -> list[str]:
    rows = [(outcome.value, statistics.outcomes[outcome]) for outcome in Outcome]
    shown = [f"  {count:5d}  {text}" for text, count in rows if count]
    if evicted := statistics.evicted():
        shown.append(
            f"         of those who closed the tab {evicted} had been evicted as absent when they looked again"
        )
    if statistics.blips:
        shown.append(f"         {statistics.blips} lost the connection in line, came back and kept the place")
    if still := statistics.outcomes[Outcome.STILL_WAITING]:
        shown.append(f"         the {still} still in line at close left it properly: sent home, not lost")
    missing = plan.people - statistics.outcomes.total()
    if missing:
        shown.append(f"  {missing:5d}  unaccounted for")
    return [f"  {plan.people:5d}  people came, of whom", *shown]


def _admissions_per_second(statistics: Statistics) -> float:
    if len(statistics.admissions) < 2:
        return 0.0
    span = statistics.admissions[-1][0] - statistics.admissions[0][0]
    return len(statistics.admissions) / span if span > 0 else 0.0


def _error_text(error: float | None) -> str:
    return "–" if error is None else f"off by {error:.0%}"


def _join_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in sorted(counts.items()))


def _rule_lines(statistics: Statistics, verdict: Verdict) -> list[str]:
    broken_of = Counter(one.rule for one in verdict.broken)
    lines = []
    for rule in Rule:
        checks, broken = verdict.checks[rule], broken_of[rule]
        sign = "BROKEN" if broken else "ok" if checks else "-"
        suffix = f", {broken} broken" if broken else "" if checks else " (not put to the test in this run)"
        lines.append(f"  {sign:<7}{rule.value:<50}{checks:6d} checks{suffix}")
    shown = verdict.broken[:BROKEN_SHOWN]
    return lines + [
        f"  at {one.at - statistics.opened:.2f} s  {describe(one, statistics.names)}" for one in shown
    ]
