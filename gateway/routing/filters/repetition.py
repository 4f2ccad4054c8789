"""The filter that repeats calls: see ``gateway.resilience.retry`` for what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.resilience.failures import FAILURES_BY_CLASS, Failure, failures_named
from gateway.resilience.retry import MAX_BACKOFF_SECONDS, MAX_RETRIES, Backoff, RetryPolicy
from gateway.routing.calls import METHODS
from gateway.routing.filters.base import ROUTE_ID_PLACE, Filter, RequestRewrite
from gateway.routing.filters.statuses import SERIES, WANTED, spring_name, status_number
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.issues import unknown
from gateway.routing.spec.value_types import FLAG, SPRING_DURATION, decimal, whole

_JITTER: Final = decimal(0, 1)
_BACKOFF: Final = ("firstBackoff", "maxBackoff", "factor", "basedOnPreviousValue")
_FIRST_BACKOFF: Final = "5ms"
_LONG_SECONDS: Final = 3600.0
_EXCEPTIONS: Final = "IOException,TimeoutException"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods whose effect is the same if the call arrives twice (RFC 9110, 9.2.2)."""


@dataclass(frozen=True, slots=True)
class RetryFilter:
    """Repeats calls as ``policy`` says. ``exceptions`` are as in the file, for Spring's text."""

    policy: RetryPolicy
    exceptions: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    answers: bool = False
    by_path: bool = False
    fixed: bool = True

    def contribute(self, rewrite: RequestRewrite) -> None:
        rewrite.retry = self.policy

    def __str__(self) -> str:
        policy = self.policy
        series = [name for name, digit in SERIES.items() if digit in policy.series]
        jitter = f"[RetryGatewayFilterFactory.JitterConfig randomFactor = {policy.jitter:g}]"
        return (
            f"[Retry routeId = '{ROUTE_ID_PLACE}', retries = {policy.retries}, series = {_list(series)}, "
            f"statuses = {_list(map(spring_name, sorted(policy.statuses)))}, "
            f"methods = {_list(sorted(policy.methods))}, "
            f"exceptions = {_list(name.rpartition('.')[2] for name in self.exceptions)}, "
            f"backoff = {_backoff_text(policy.backoff)}, jitter = {jitter if policy.jitter else '[null]'}, "
            f"timeout = {'[null]' if policy.timeout is None else _iso(policy.timeout)}]"
        )


def _list(items: Iterable[str]) -> str:
    return f"list[{', '.join(items) or '[empty]'}]"


def _backoff_text(backoff: Backoff | None) -> str:
    if backoff is None:
        return "[null]"
    return (
        f"[RetryGatewayFilterFactory.BackoffConfig firstBackoff = {_iso(backoff.first)}, "
        f"maxBackoff = {_iso(backoff.most)}, factor = {backoff.factor}, "
        f"basedOnPreviousValue = {str(backoff.from_previous).lower()}]"
    )


def _iso(seconds: float) -> str:
    """A duration as Java writes it."""
    return f"PT{seconds:.9f}".rstrip("0").rstrip(".") + "S"


def _retry(args: Arguments) -> Filter:
    statuses = statuses_of(args, "statuses")
    series = frozenset(_series(args, text) for text in args.parts("series", "SERVER_ERROR"))
    exceptions = args.parts("exceptions", _EXCEPTIONS)
    methods = frozenset(_method(args, text) for text in args.parts("methods", "GET"))
    if not (statuses or series or exceptions):
        raise args.wrong("statuses, series and exceptions are all empty, so nothing would be repeated")
    if not methods:
        raise args.wrong("methods is empty, so nothing would be repeated")
    unsafe = sorted(methods - _SAFE_METHODS)
    if unsafe:
        args.warn(
            "retry",
            f"Retry: {', '.join(unsafe)}: a service may carry out such a call twice, because an attempt that failed "
            "may have had its effect; name the method only if the service recognises repetitions",
        )
    warn_of_long_times(args, "timeout", "backoff.firstBackoff", "backoff.maxBackoff")
    policy = RetryPolicy(
        args.integer("retries", 3, lowest=1),
        statuses,
        series,
        methods,
        failures_of(args, "exceptions", _EXCEPTIONS),
        _backoff(args),
        args.read("jitter.randomFactor", _JITTER, "0.5") if args.has("jitter.randomFactor") else 0.0,
        args.read("timeout", SPRING_DURATION) if args.has("timeout") else None,
    )
    if policy.retries > MAX_RETRIES:
        raise args.wrong(f"retries must be at most {MAX_RETRIES}")
    return RetryFilter(policy, exceptions)


def warn_of_long_times(args: Arguments, *names: str) -> None:
    """Warns of durations that no client waits for, which are accepted."""
    for name in names:
        if args.has(name):
            seconds = SPRING_DURATION.read(args.text(name))
            if seconds is not None and seconds > _LONG_SECONDS:
                args.warn(
                    "long-time",
                    f"{args.kind}: {name} is {seconds / 3600:g} hours, which no client waits for; write seconds as 2s, "
                    "and milliseconds as 2000 or 2000ms",
                )


def statuses_of(args: Arguments, argument: str) -> frozenset[int]:
    """Read a list of statuses, by number or name."""
    found = {text: status_number(text) for text in args.parts(argument)}
    for text, status in found.items():
        if status is None:
            raise args.wrong(f"{argument}: each must be {WANTED}, not {text!r}")
    return frozenset(status for status in found.values() if status is not None)


def _series(args: Arguments, text: str) -> int:
    digit = SERIES.get(text.upper())
    if digit is None:
        raise args.wrong(unknown("series", text, tuple(SERIES)))
    return digit


def _method(args: Arguments, text: str) -> str:
    if text not in METHODS:
        raise args.wrong(unknown("method", text, METHODS))
    return text


def failures_of(args: Arguments, argument: str, default: str = "") -> frozenset[Failure]:
    """Read a list of Java's classes, as the failures that they stand for."""
    found: set[Failure] = set()
    for name in args.parts(argument, default):
        failures = failures_named(name)
        if failures is None:
            known = ", ".join(dict.fromkeys(each.rpartition(".")[2] for each in FAILURES_BY_CLASS))
            raise args.wrong(f"{argument}: {name!r} is no failure of a call to a service; there are: {known}")
        found |= failures
    return frozenset(found)


def _backoff(args: Arguments) -> Backoff | None:
    if not any(args.has(f"backoff.{name}") for name in _BACKOFF):
        return None
    first = args.read("backoff.firstBackoff", SPRING_DURATION, _FIRST_BACKOFF)
    most = (
        args.read("backoff.maxBackoff", SPRING_DURATION)
        if args.has("backoff.maxBackoff")
        else max(first, MAX_BACKOFF_SECONDS)
    )
    if most < first:
        raise args.wrong("backoff.maxBackoff must not be shorter than backoff.firstBackoff")
    return Backoff(
        first,
        most,
        args.integer("backoff.factor", 2, lowest=1),
        args.flag("backoff.basedOnPreviousValue", True),
    )


FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    "Retry": Factory(
        "Retry",
        (
            Arg("retries", required=False, of=whole(1)),
            Arg("statuses", required=False, listed=True, empty=True),
            Arg("methods", required=False, listed=True),
            Arg("backoff.firstBackoff", required=False, of=SPRING_DURATION),
            Arg("backoff.maxBackoff", required=False, of=SPRING_DURATION),
            Arg("backoff.factor", required=False, of=whole(1)),
            Arg("backoff.basedOnPreviousValue", required=False, of=FLAG),
            Arg("jitter.randomFactor", required=False, of=_JITTER),
            Arg("timeout", required=False, of=SPRING_DURATION),
            Arg("series", required=False, listed=True, empty=True, named=True),
            Arg("exceptions", required=False, listed=True, empty=True, named=True),
        ),
        _retry,
        "Repeats calls that failed, at another instance each time.",
    )
}
