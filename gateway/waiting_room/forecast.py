"""What an operator's act will do to the line, before it is done. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.waiting_room.state import Summary

ENDING: Final = frozenset({"sold-out", "empty"})
"""Acts with which everyone in line loses the place."""
_SECONDS_OF: Final = {"s": 1, "m": 60, "h": 3600}
_MAX_DIGITS: Final = 9
"""Of a rate. Python reads no number of thousands of digits."""


class Change(NamedTuple):
    """What would be set; None leaves it as it is. ``rate``: admissions per second at most, 0: no limit."""

    capacity: int | None = None
    duration: float | None = None
    rate: float | None = None


class Forecast(NamedTuple):
    """The wait of the last user in line before and after, in seconds; None where nobody is admitted or nothing has been
    measured. ``lose``: users who lose their places. ``at_once``: users who are admitted at once."""

    before: float | None
    after: float | None
    lose: int = 0
    at_once: int = 0


def per_second(rate: str) -> float | None:
    """The setting ``rate``, such as 120/m, as admissions per second; 0: off; None: not readable."""
    if rate == "off":
        return 0.0
    count, _, unit = rate.partition("/")
    if not (count.isascii() and count.isdecimal() and len(count) <= _MAX_DIGITS and unit in _SECONDS_OF):
        return None
    return int(count) / _SECONDS_OF[unit]


def forecast(summary: Summary, act: str, change: Change = Change()) -> Forecast:  # noqa: B008 - it is immutable
    """What ``act`` would do now: ``set`` with a change, or an act by its name. Acts that change no wait leave it."""
    last = max(1, summary.waiting)
    before = summary.wait_at(last)
    if act in ENDING:
        return Forecast(before, None, lose=summary.waiting + summary.parked + summary.registered)
    if act == "pause":
        return Forecast(before, None)
    if act == "resume":
        summary = summary._replace(paused=False)
        return Forecast(before, summary.wait_at(last), at_once=_free(summary))
    if act != "set":
        return Forecast(before, before)
    after = changed(summary, change)
    at_once = _free(after)
    if at_once >= summary.waiting > 0 and not after.admits_none:
        return Forecast(before, 0.0, at_once=at_once)
    return Forecast(before, after.wait_at(max(1, summary.waiting - at_once)), at_once=at_once)


def changed(summary: Summary, change: Change) -> Summary:
    """The summary as the change would make it. Slots turn over as fast as sessions end: so the rate grows with the
    capacity, and falls with the length of sessions, as if none ended before its time."""
    capacity = summary.capacity if change.capacity is None else change.capacity
    duration = summary.duration if change.duration is None else change.duration
    rate = summary.rate * summary.duration / duration
    if summary.capacity > 0:
        rate *= capacity / summary.capacity
    if change.rate:
        rate = min(rate, change.rate) if rate > 0 else change.rate
    # Ages tell when the present sessions end; with another capacity or length they no longer do.
    same = capacity == summary.capacity and duration == summary.duration
    ages = summary.ages if same else ()
    return summary._replace(capacity=capacity, duration=duration, rate=rate, ages=ages)


def _free(summary: Summary) -> int:
    return 0 if summary.paused else min(summary.waiting, max(0, summary.capacity - summary.allowed_in))
