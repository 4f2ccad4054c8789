"""The filters of circuit breakers: see ``gateway.resilience.breaker`` for what one does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gateway.resilience.breaker import BreakerConfig, BreakerPolicy
from gateway.resilience.failures import Failure
from gateway.routing.filters.base import (
    DirectResponse,
    Fallback,
    Filter,
    FunctionFilter,
    RequestRewrite,
    Template,
    header_name,
    parse_template,
)
from gateway.routing.filters.edits import RemoveForService, SetForService
from gateway.routing.filters.repetition import failures_of, statuses_of, warn_of_long_times
from gateway.routing.filters.statuses import WANTED, spring_name, status_number
from gateway.routing.filters.target import demand_sound, path_variable, restore_path
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.value_types import FLAG, SPRING_DURATION, choice, decimal, whole

MAX_WINDOW: Final = 100_000
"""Calls, or seconds: what a breaker keeps takes memory."""
_NO_WAIT: Final = "0"
_PERCENT: Final = decimal(0.001, 100)
_TIMES: Final = (
    *("timeoutDuration", "slowCallDurationThreshold"),
    *("waitDurationInOpenState", "maxWaitDurationInHalfOpenState"),
)
_WINDOW_TYPES: Final = ("COUNT_BASED", "TIME_BASED")
_FORWARD: Final = "forward:"
_HEADERS: Final = {
    "executionExceptionTypeHeaderName": "Execution-Exception-Type",
    "executionExceptionMessageHeaderName": "Execution-Exception-Message",
    "rootCauseExceptionTypeHeaderName": "Root-Cause-Exception-Type",
    "rootCauseExceptionMessageHeaderName": "Root-Cause-Exception-Message",
}


@dataclass(frozen=True, slots=True)
class CircuitBreakerFilter:
    """Sends calls through a breaker. ``fallback_path`` is the template of the path whose route answers when a call
    fails; ``answer``: what answers instead of a route."""

    policy: BreakerPolicy
    attempt_policy: BreakerPolicy
    """The same, with each attempt of a route that repeats calls as a call of its own."""
    fallback_path: Template | None = None
    answer: Fallback | None = None
    fallback_uri: str = ""
    answers: bool = False
    by_path: bool = False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.fallback_path is None else self.fallback_path.needs

    @property
    def fixed(self) -> bool:
        return not self.needs

    def contribute(self, rewrite: RequestRewrite) -> None:
        # A filter acts on what those behind it do. Behind Retry, that is one attempt.
        rewrite.breaker = self.policy if rewrite.retry is None else self.attempt_policy
        rewrite.fallback = self.answer
        if self.fallback_path is not None:
            path = self.fallback_path.expand(rewrite.variables, path_variable)
            rewrite.fallback = Fallback(restore_path(path))

    def __str__(self) -> str:
        name, fallback = self.policy.name or "", self.fallback_uri or "''"
        return f"[SpringCloudCircuitBreakerResilience4JFilterFactory name = '{name}', fallback = {fallback}]"


def _circuit_breaker(args: Arguments) -> Filter:
    fallback_uri = args.text("fallbackUri")
    path = _fallback_path(args, fallback_uri) if fallback_uri else None
    answer = _fixed_answer(args)
    if path is not None and answer is not None:
        raise args.wrong("fallbackUri and a fixed answer exclude each other; leave one of them out")
    if answer is None and path is None and args.flag("resumeWithoutError", False):
        answer = Fallback(answer=DirectResponse(200, ()), for_errors_only=True)
    limited = not args.flag("disableTimeLimiter", False)
    if not limited and args.has("timeoutDuration"):
        raise args.wrong("timeoutDuration has no effect with disableTimeLimiter")
    warn_of_long_times(args, *_TIMES)
    policy = BreakerPolicy(
        _config(args),
        args.text("name") or None,
        statuses_of(args, "statusCodes"),
        args.read("timeoutDuration", SPRING_DURATION, "1s") if limited else None,
        has_fallback=path is not None or answer is not None,
    )
    return CircuitBreakerFilter(policy, replace(policy, each_attempt=True), path, answer, fallback_uri)


def _config(args: Arguments) -> BreakerConfig:
    """The breaker's configuration; its arguments have the names of Resilience4j's properties."""
    default = BreakerConfig()
    wait = args.text("maxWaitDurationInHalfOpenState", _NO_WAIT)
    config = BreakerConfig(
        args.read("failureRateThreshold", _PERCENT, "50"),
        args.read("slowCallRateThreshold", _PERCENT, "100"),
        args.read("slowCallDurationThreshold", SPRING_DURATION, "60s"),
        args.integer("permittedNumberOfCallsInHalfOpenState", default.half_open_calls, lowest=1),
        0.0 if wait == _NO_WAIT else args.read("maxWaitDurationInHalfOpenState", SPRING_DURATION),
        args.choice("slidingWindowType", _WINDOW_TYPES, "COUNT_BASED") == "TIME_BASED",
        args.integer("slidingWindowSize", default.window, lowest=1),
        args.integer("minimumNumberOfCalls", default.minimum_calls, lowest=1),
        args.read("waitDurationInOpenState", SPRING_DURATION, "60s"),
        args.flag("automaticTransitionFromOpenToHalfOpenEnabled", False),
        failures_of(args, "recordExceptions") if args.has("recordExceptions") else frozenset(Failure),
        failures_of(args, "ignoreExceptions"),
    )
    if max(config.window, config.half_open_calls) > MAX_WINDOW:
        raise args.wrong(
            f"slidingWindowSize and permittedNumberOfCallsInHalfOpenState must be at most {MAX_WINDOW}"
        )
    return config


def _fallback_path(args: Arguments, uri: str) -> Template:
    if not uri.startswith(_FORWARD + "/"):
        raise args.wrong(f"fallbackUri must be forward:/ and a path, not {uri!r}")
    path = uri.removeprefix(_FORWARD)
    if "?" in path or "#" in path:
        raise args.wrong(
            "fallbackUri is a path; the query stays the request's, and '?' and '#' have no effect"
        )
    template = parse_template(path).encoded(path_variable)
    demand_sound(
        args, "fallbackUri", "".join(part if isinstance(part, str) else "x" for part in template.parts)
    )
    return template


def _fixed_answer(args: Arguments) -> Fallback | None:
    names = ("fallbackStatus", "fallbackBody", "fallbackContentType")
    if not any(args.has(name) for name in names):
        return None
    text = args.text("fallbackStatus", "503")
    status = status_number(text)
    if status is None:
        raise args.wrong(f"fallbackStatus must be {WANTED}, not {text!r}")
    content_type = args.text("fallbackContentType", "application/json")
    if not (content_type.isascii() and content_type.isprintable()):
        raise args.wrong("fallbackContentType holds a character that a header may not hold")
    body = args.text("fallbackBody").encode()
    headers = (("Content-Type", content_type),) if body else ()
    return Fallback(answer=DirectResponse(status, headers, body))


def _fallback_headers(args: Arguments) -> Filter:
    names = [header_name(args, argument, default) for argument, default in _HEADERS.items()]

    def apply(rewrite: RequestRewrite) -> None:
        cause = rewrite.request.cause
        if cause is None:
            # Otherwise a service would believe what a client says.
            rewrite.request_edits.extend(map(RemoveForService, names))
            return
        message = spring_name(int(cause.message)) if cause.message.isdigit() else cause.message
        values = (cause.type, message) * 2
        rewrite.request_edits.extend(map(SetForService, names, values))

    return FunctionFilter("[FallbackHeaders]", apply)


FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    kind.name: kind
    for kind in (
        Factory(
            "CircuitBreaker",
            (
                Arg("name", required=False),
                Arg("fallbackUri", required=False, named=True),
                Arg("statusCodes", required=False, listed=True, named=True),
                Arg("resumeWithoutError", required=False, named=True, of=FLAG),
                Arg("timeoutDuration", required=False, named=True, of=SPRING_DURATION),
                Arg("disableTimeLimiter", required=False, named=True, of=FLAG),
                Arg("slidingWindowType", required=False, named=True, of=choice(_WINDOW_TYPES)),
                Arg("slidingWindowSize", required=False, named=True, of=whole(1)),
                Arg("minimumNumberOfCalls", required=False, named=True, of=whole(1)),
                Arg("failureRateThreshold", required=False, named=True, of=_PERCENT),
                Arg("slowCallRateThreshold", required=False, named=True, of=_PERCENT),
                Arg("slowCallDurationThreshold", required=False, named=True, of=SPRING_DURATION),
                Arg("permittedNumberOfCallsInHalfOpenState", required=False, named=True, of=whole(1)),
                Arg("maxWaitDurationInHalfOpenState", required=False, named=True),
                Arg("waitDurationInOpenState", required=False, named=True, of=SPRING_DURATION),
                Arg("automaticTransitionFromOpenToHalfOpenEnabled", required=False, named=True, of=FLAG),
                Arg("recordExceptions", required=False, named=True, listed=True),
                Arg("ignoreExceptions", required=False, named=True, listed=True),
                Arg("fallbackStatus", required=False, named=True),
                Arg("fallbackBody", required=False, named=True),
                Arg("fallbackContentType", required=False, named=True),
            ),
            _circuit_breaker,
            "Stops calling a service that fails, and lets something else answer.",
        ),
        Factory(
            "FallbackHeaders",
            tuple(Arg(name, required=False, named=True) for name in _HEADERS),
            _fallback_headers,
            "Tells the service why it is asked as a fallback.",
        ),
    )
}
