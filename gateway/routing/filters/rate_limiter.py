"""The filter that limits how often a caller may call a route: see ``gateway.resilience.rate_limit``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from gateway.resilience.rate_limit import KeyKind, RateLimitPolicy
from gateway.routing.filters.base import Filter, RequestRewrite, is_header_name
from gateway.routing.filters.statuses import WANTED, status_number
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.value_types import FLAG, whole

_KINDS: Final = ("user", "address", "visitor")
_SPRING_TEXT: Final = (
    "org.springframework.cloud.gateway.filter.factory.RequestRateLimiterGatewayFilterFactory$$Lambda"
)
_REDIS: Final = "redis-rate-limiter."
_INSTEAD: Final = "for key-resolver write key: user, address, visitor or header:NAME"


@dataclass(frozen=True, slots=True)
class RateLimiterFilter:
    """Limits how often a caller may call the route."""

    policy: RateLimitPolicy
    needs: frozenset[str] = frozenset()
    answers: bool = False
    by_path: bool = False
    fixed: bool = True

    def contribute(self, rewrite: RequestRewrite) -> None:
        rewrite.rate_limits = (*rewrite.rate_limits, self.policy)

    def __str__(self) -> str:
        return _SPRING_TEXT


def _rate_limiter(args: Arguments) -> Filter:
    kind, header = _key(args)
    deny_empty = args.flag("denyEmptyKey", True)
    empty_status = _status(args, "emptyKeyStatus", "FORBIDDEN")
    policy = RateLimitPolicy(
        args.integer("replenishRate", 1, lowest=1),
        args.integer("burstCapacity", 1),
        args.integer("requestedTokens", 1, lowest=1),
        kind,
        header,
        _status(args, "statusCode", "TOO_MANY_REQUESTS"),
        empty_status if deny_empty else None,
    )
    _warn(args, policy)
    return RateLimiterFilter(policy)


def _key(args: Arguments) -> tuple[KeyKind, str]:
    text = args.text("key", "user")
    if text in _KINDS:
        return cast(KeyKind, text), ""
    kind, _, name = text.partition(":")
    if kind != "header" or not is_header_name(name):
        raise args.wrong(f"key must be user, address, visitor or header:NAME, not {text!r}")
    return "header", name


def _status(args: Arguments, name: str, default: str) -> int:
    text = args.text(name, default)
    status = status_number(text)
    if status is None or status < 400:
        raise args.wrong(f"{name} must be {WANTED}, and one that refuses (from 400), not {text!r}")
    return status


def _warn(args: Arguments, policy: RateLimitPolicy) -> None:
    capacity, rate = policy.burst_capacity, policy.replenish_rate
    if capacity < policy.requested_tokens:
        args.warn(
            "rate-limit",
            f"RequestRateLimiter: a bucket holds {capacity} tokens and a call takes {policy.requested_tokens}, so "
            "every call is refused; burstCapacity is 1 if it is missing",
        )
    elif capacity < rate:
        args.warn(
            "rate-limit",
            f"RequestRateLimiter: a bucket holds {capacity} tokens and gets {rate} a second, so a caller may not make "
            f"{rate} calls at once; write burstCapacity: {rate} or more",
        )


FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    "RequestRateLimiter": Factory(
        "RequestRateLimiter",
        (
            Arg("replenishRate", also=(f"{_REDIS}replenishRate",), named=True, of=whole(1)),
            Arg("burstCapacity", False, also=(f"{_REDIS}burstCapacity",), named=True, of=whole(0)),
            Arg("requestedTokens", False, also=(f"{_REDIS}requestedTokens",), named=True, of=whole(1)),
            Arg("key", required=False, named=True),
            Arg("statusCode", required=False, named=True),
            Arg("denyEmptyKey", required=False, named=True, of=FLAG),
            Arg("emptyKeyStatus", required=False, named=True),
        ),
        _rate_limiter,
        "Refuses callers who call too often.",
        instead=_INSTEAD,
    )
}
