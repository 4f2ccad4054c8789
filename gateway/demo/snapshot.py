"""One look at the sale, as plain values for whatever shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.demo.observer import describe
from gateway.demo.plan import Plan
from gateway.demo.rules import Verdict
from gateway.demo.seen import Outcome
from gateway.demo.stats import Stats, percentile

SPARK_SECONDS = 40


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything shown at one moment. Times in seconds; None where nothing has been measured."""

    elapsed: float
    seconds: float
    people: int
    capacity: int
    arrived: int
    waiting: int
    inside: int
    done: int
    outcomes: Mapping[Outcome, int]
    rate: tuple[int, ...]
    admitted: int
    wait_p50: float | None
    wait_p95: float | None
    handover_p50: float | None
    handover_p95: float | None
    latency_p50: float | None
    latency_p95: float | None
    requests: int
    events: int
    checks: int
    broken: int
    latest_broken: str
    happened: tuple[tuple[float, str], ...]


def snapshot(plan: Plan, stats: Stats, verdict: Verdict, now: float) -> Snapshot:
    """What is known at ``now`` (the crowd's clock)."""
    return Snapshot(
        elapsed=now - stats.opened,
        seconds=plan.seconds,
        people=plan.people,
        capacity=plan.limits.capacity,
        arrived=len(stats.arrived),
        waiting=len(stats.in_line),
        inside=stats.shopping(now),
        done=stats.outcomes.total(),
        outcomes=dict(stats.outcomes),
        rate=tuple(stats.rate(now, SPARK_SECONDS)),
        admitted=len(stats.admissions),
        wait_p50=percentile(stats.waits, 50),
        wait_p95=percentile(stats.waits, 95),
        handover_p50=percentile(stats.handovers, 50),
        handover_p95=percentile(stats.handovers, 95),
        latency_p50=percentile(stats.latencies, 50),
        latency_p95=percentile(stats.latencies, 95),
        requests=stats.requests,
        events=stats.events,
        checks=verdict.total,
        broken=len(verdict.broken),
        latest_broken=describe(verdict.broken[-1], stats.names) if verdict.broken else "",
        happened=tuple(stats.happened),
    )
