"""What the demo says before and after: how to join in, and how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.demo.observer import describe
from gateway.demo.plan import Plan
from gateway.demo.rules import Rule, Verdict
from gateway.demo.seen import Outcome
from gateway.demo.stats import Stats, percentile
from gateway.demo.view import milliseconds, whole_seconds

BROKEN_SHOWN = 20
# Half of the freed slots must have been passed on within this many seconds, if enough were measured to say so.
# An admission that nobody announced is found by the next status update, which takes a second or two.
PASSED_ON_WITHIN, ENOUGH_TO_JUDGE = 0.25, 20


def invitation(base: str, token: str, addresses: Mapping[str, str]) -> str:
    """How somebody at a keyboard joins the line: lines to paste into a shell."""
    behind = "\n".join(f"  {name:<26}{address}" for name, address in addresses.items())
    return f"""\
The gateway listens at {base} (how it is: {base}/actuator/health).
What it and the services can do, to read and to try: {base}/swagger-ui.html
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
class Witnessed:
    """What the services can say: the most users provably in at once, and requests without a user."""

    most_in: int
    nameless: int
    sold: int


def failures(plan: Plan, stats: Stats, verdict: Verdict, witnessed: Witnessed) -> list[str]:
    """What went wrong, by anybody's evidence: broken rules, lost people, or what only services can see."""
    lost, missing = stats.outcomes[Outcome.LOST], plan.people - stats.outcomes.total()
    faults = {
        f"breaches of rules: {len(verdict.broken)}": bool(verdict.broken),
        f"people who could not get in line: {lost}": lost > 0,
        f"people unaccounted for: {missing}": missing != 0,
        f"requests that reached a service without exactly one user: {witnessed.nameless}": witnessed.nameless
        > 0,
        f"services saw {witnessed.most_in} in at once, room for {plan.limits.capacity}": (
            witnessed.most_in > plan.limits.capacity
        ),
    }
    passed_on = percentile(stats.handovers, 50)
    if passed_on is not None and len(stats.handovers) >= ENOUGH_TO_JUDGE:
        faults[f"freed slots are passed on slowly: p50 {milliseconds(passed_on)}"] = (
            passed_on > PASSED_ON_WITHIN
        )
    return [fault for fault, holds in faults.items() if holds]


def summary(plan: Plan, stats: Stats, verdict: Verdict, witnessed: Witnessed, elapsed: float) -> str:
    """How it went, in the end."""
    lines = ["", f"After {elapsed:.1f} s (seed {plan.seed} brings the same crowd again):", ""]
    lines += _people(plan, stats)
    lines += [
        "",
        f"  waits        p50 {whole_seconds(percentile(stats.waits, 50))}, "
        f"p95 {whole_seconds(percentile(stats.waits, 95))}, "
        f"longest {whole_seconds(max(stats.waits, default=None))} ({len(stats.waits)} had to wait)",
        f"  estimates    {_off(percentile(stats.estimate_errors, 50))} of the real wait in the median "
        f"({len(stats.estimate_errors)} shown to people who got in)",
        f"  let in       {len(stats.admissions)}, {_pace(stats):.1f} per second",
        f"  freed slot   the next one heard of it after p50 {milliseconds(percentile(stats.handovers, 50))}, "
        f"p95 {milliseconds(percentile(stats.handovers, 95))} ({len(stats.handovers)} measured)",
        f"  requests     {stats.requests} answered, p50 {milliseconds(percentile(stats.latencies, 50))}, "
        f"p95 {milliseconds(percentile(stats.latencies, 95))}; {stats.unanswered} without an answer; "
        f"{stats.events} stream events",
        f"  turned away  {_listed(stats.turned_away) or 'nobody'}",
        f"  services     at most {witnessed.most_in} of {plan.limits.capacity} provably in at once; "
        f"{witnessed.nameless} requests without a user; {witnessed.sold} of {plan.seats} seats sold",
        "",
        *_rules(stats, verdict),
        "",
    ]
    counted = f"{len(Rule)} rules, {verdict.total} checks, {len(verdict.broken)} broken"
    faults = failures(plan, stats, verdict, witnessed)
    lines.append(f"{counted}. FAILED: {'; '.join(faults)}." if faults else f"{counted}; nobody was lost.")
    return "\n".join(lines)


def _people(plan: Plan, stats: Stats) -> list[str]:
    rows = [(outcome.value, stats.outcomes[outcome]) for outcome in Outcome]
    shown = [f"  {count:5d}  {text}" for text, count in rows if count]
    if evicted := stats.evicted():
        shown.append(
            f"         of those who closed the tab {evicted} had been evicted as absent when they looked again"
        )
    if stats.blips:
        shown.append(f"         {stats.blips} lost the connection in line, came back and kept the place")
    if still := stats.outcomes[Outcome.STILL_WAITING]:
        shown.append(f"         the {still} still in line at close left it properly: sent home, not lost")
    missing = plan.people - stats.outcomes.total()
    if missing:
        shown.append(f"  {missing:5d}  unaccounted for")
    return [f"  {plan.people:5d}  people came, of whom", *shown]


def _pace(stats: Stats) -> float:
    if len(stats.admissions) < 2:
        return 0.0
    span = stats.admissions[-1][0] - stats.admissions[0][0]
    return len(stats.admissions) / span if span > 0 else 0.0


def _off(error: float | None) -> str:
    return "–" if error is None else f"off by {error:.0%}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in sorted(counts.items()))


def _rules(stats: Stats, verdict: Verdict) -> list[str]:
    broken_of = Counter(one.rule for one in verdict.broken)
    lines = []
    for rule in Rule:
        checks, broken = verdict.checks[rule], broken_of[rule]
        sign = "BROKEN" if broken else "ok" if checks else "-"
        tail = f", {broken} broken" if broken else "" if checks else " (not put to the test in this run)"
        lines.append(f"  {sign:<7}{rule.value:<50}{checks:6d} checks{tail}")
    shown = verdict.broken[:BROKEN_SHOWN]
    return lines + [f"  at {one.at - stats.opened:.2f} s  {describe(one, stats.names)}" for one in shown]
