"""Limits of routes' rates: who a caller is, and what an answer says about the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from aiohttp import web

from gateway.auth.visitors import VisitorCookies
from gateway.context import CONTEXT, OBSERVERS, RATE_LIMITER, VISITORS, RequestContext
from gateway.errors import QueueError, QueueUnavailable, RateLimited, RateLimitKeyMissing
from gateway.observability.metrics import Metrics
from gateway.proxy.uploads import network_of
from gateway.resilience.rate_limit import RateLimitPolicy
from gateway.server.head import RequestHead
from gateway.waiting_room.batch import Outcome
from gateway.waiting_room.rate_limiter import Bucket, RateLimiter, Verdict

Limits = Sequence[tuple[RateLimitPolicy, Bucket]]


async def check_rate(request: web.Request) -> None:
    """Takes tokens for a request, if its route limits the rate. Raises RateLimited and RateLimitKeyMissing. Without an
    answer of Redis the request passes."""
    context, app = request[CONTEXT], request.app
    metrics = app[OBSERVERS].metrics
    limits = limits_of(request, context, app[VISITORS], metrics)
    if not limits:
        return
    try:
        verdict = await app[RATE_LIMITER].take([bucket for _, bucket in limits])
    except QueueError:
        pass_unlimited(context, limits, metrics)
    else:
        apply_verdict(context, limits, verdict, metrics)


def take_tokens(
    request: RequestHead,
    context: RequestContext,
    visitors: VisitorCookies,
    limiter: RateLimiter,
    metrics: Metrics,
    step: Callable[[Callable[[], None]], None],
    go_on: Callable[[], None],
) -> None:
    """``check_rate`` for a caller that is no task: calls ``go_on`` if the request passes. What happens later happens
    through ``step``, which gets the errors."""
    limits = limits_of(request, context, visitors, metrics)
    if not limits:
        go_on()
        return

    def decide() -> None:
        try:
            verdict = outcome.result()
        except QueueError:
            pass_unlimited(context, limits, metrics)
        else:
            apply_verdict(context, limits, verdict, metrics)
        go_on()

    outcome: Outcome[Verdict] = Outcome(lambda: step(decide))
    try:
        limiter.take_for(outcome, [bucket for _, bucket in limits])
    except QueueUnavailable:
        pass_unlimited(context, limits, metrics)
        go_on()


def limits_of(
    request: RequestHead, context: RequestContext, visitors: VisitorCookies, metrics: Metrics
) -> Limits:
    """The limits that hold for a request, each with the caller's bucket. Raises RateLimitKeyMissing for a caller whom a
    limit can't tell from others."""
    match = context.match
    policies = () if match is None else match.changes.rate_limits
    limits = []
    for at, policy in enumerate(policies):
        key = _key(policy, request, context, visitors)
        if key:
            # The position tells several limits of one route apart.
            name = "\0".join((context.label, str(at), policy.key, policy.header, key))
            bucket = Bucket(name, policy.replenish_rate, policy.burst_capacity, policy.requested_tokens)
            limits.append((policy, bucket))
        elif policy.empty_key_status is not None:
            metrics.rate_limited(context.label, "no_key")
            raise RateLimitKeyMissing(policy.empty_key_status)
    return limits


def _key(
    policy: RateLimitPolicy, request: RequestHead, context: RequestContext, visitors: VisitorCookies
) -> str:
    """What tells the caller from others; empty if nothing does."""
    if policy.key == "user":
        return "" if context.principal is None else context.principal.user_id
    if policy.key == "address":
        return network_of(context.client)
    if policy.key == "header":
        return ",".join(request.headers.getall(policy.header, ())).strip()
    if context.visitor is not None or not visitors.known:
        return context.visitor or ""
    visitor = visitors.find(request.headers, secure=context.over_tls).visitor
    return "" if visitor is None else visitor.id


def apply_verdict(context: RequestContext, limits: Limits, verdict: Verdict, metrics: Metrics) -> None:
    """The answer to the request says what is left. Raises RateLimited."""
    asked = [policy for policy, _ in limits[: len(verdict.left)]]
    _set_headers(context, asked, verdict.left)
    if verdict.allowed:
        metrics.rate_limited(context.label, "allowed")
        return
    metrics.rate_limited(context.label, "limited")
    raise RateLimited(asked[-1].status, verdict.wait)


def pass_unlimited(context: RequestContext, limits: Limits, metrics: Metrics) -> None:
    """Redis is away, so the request passes. As with Spring, -1 tokens are left."""
    metrics.rate_limited(context.label, "unchecked")
    _set_headers(context, [policy for policy, _ in limits], [-1] * len(limits))


def _set_headers(context: RequestContext, policies: Sequence[RateLimitPolicy], left: Sequence[int]) -> None:
    headers: list[tuple[str, str]] = []
    for policy, tokens in zip(policies, left, strict=True):
        headers.append(("X-RateLimit-Remaining", str(tokens)))
        headers += _stated(policy.requested_tokens, policy.burst_capacity, policy.replenish_rate)
    context.limit_headers = tuple(headers)


@lru_cache(maxsize=256)
def _stated(requested_tokens: int, burst_capacity: int, replenish_rate: int) -> tuple[tuple[str, str], ...]:
    """The headers that are the same in each answer of a limit."""
    return (
        ("X-RateLimit-Requested-Tokens", str(requested_tokens)),
        ("X-RateLimit-Burst-Capacity", str(burst_capacity)),
        ("X-RateLimit-Replenish-Rate", str(replenish_rate)),
    )
