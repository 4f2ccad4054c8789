"""Predicates on where and when a request comes, and on chance."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gateway.routing.arguments import Arg, Arguments, Kind
from gateway.routing.facts import RequestFacts
from gateway.routing.predicates import CapturesNothing, Predicate
from gateway.routing.value_types import whole

_LOCALHOST: Final = ("127.0.0.1/32", "::1/128")


@dataclass(frozen=True, slots=True)
class RemoteAddr(CapturesNothing):
    """The caller's address, trusted proxies taken off, is in one of the networks."""

    sources: tuple[str, ...]
    networks: tuple[IPv4Network | IPv6Network, ...] = field(repr=False)
    name: str = "RemoteAddrs"

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        address = _address(facts.client)
        return address is not None and any(address in network for network in self.networks)

    def __str__(self) -> str:
        return f"{self.name}: [{', '.join(self.sources)}]"


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(frozen=True, slots=True)
class Between(CapturesNothing):
    """The time is at or after ``start`` and before ``end`` (epoch seconds; None is open)."""

    start: float | None
    end: float | None
    shown: str

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        now = time.time()
        return (self.start is None or now > self.start) and (self.end is None or now < self.end)

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True)
class Weight(CapturesNothing):
    """One route of the group is drawn per request, in proportion to the weights.

    The route table draws before it asks any predicate, so this one holds by itself.
    """

    group: str
    weight: int

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        return True

    def __str__(self) -> str:
        return f"Weight: {self.group} {self.weight}"


def _networks(args: Arguments) -> tuple[IPv4Network | IPv6Network, ...]:
    networks: list[IPv4Network | IPv6Network] = []
    for source in args.texts("sources"):
        for text in _LOCALHOST if source == "localhost" else (source,):
            mapped = re.fullmatch(r"::ffff:(\d+\.\d+\.\d+\.\d+)", text, re.IGNORECASE)
            try:
                networks.append(ip_network(mapped[1] if mapped else text, strict=False))
            except ValueError:
                raise args.wrong(f"{source!r} is no address or network such as 10.0.0.0/8") from None
    return tuple(networks)


def _remote(args: Arguments) -> Predicate:
    return RemoteAddr(args.texts("sources"), _networks(args))


def _forwarded(args: Arguments) -> Predicate:
    if args.has("maxTrustedIndex"):
        raise args.wrong("maxTrustedIndex means nothing here; the setting TRUSTED_PROXIES says whom to trust")
    return RemoteAddr(args.texts("sources"), _networks(args), "XForwardedRemoteAddrs")


def _instant(args: Arguments, name: str) -> float:
    """Epoch seconds from ISO 8601 with an offset, Java's ``[Zone/Id]`` behind it, or epoch milliseconds."""
    text = args.text(name)
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text) / 1000
    bare = re.sub(r"\[[\w/+-]+\]$", "", text)
    try:
        moment = datetime.fromisoformat(bare)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise args.wrong(f"{name} must be a time such as 2026-03-01T20:00:00+09:00, not {text!r}")
    return moment.timestamp()


def _after(args: Arguments) -> Predicate:
    return Between(_instant(args, "datetime"), None, f"After: {args.text('datetime')}")


def _before(args: Arguments) -> Predicate:
    return Between(None, _instant(args, "datetime"), f"Before: {args.text('datetime')}")


def _between(args: Arguments) -> Predicate:
    start, end = _instant(args, "datetime1"), _instant(args, "datetime2")
    if start >= end:
        raise args.wrong("datetime1 must be before datetime2")
    return Between(start, end, f"Between: {args.text('datetime1')} and {args.text('datetime2')}")


def _weight(args: Arguments) -> Predicate:
    return Weight(args.text("weight.group"), args.integer("weight.weight", 0))


KINDS: Final[Mapping[str, Kind[Predicate]]] = {
    kind.name: kind
    for kind in (
        Kind(
            "RemoteAddr",
            (Arg("sources", gathers=True, also=("source",)),),
            _remote,
            "The client's address is in one of the networks.",
        ),
        Kind(
            "XForwardedRemoteAddr",
            (Arg("sources", gathers=True, also=("source",)), Arg("maxTrustedIndex", required=False)),
            _forwarded,
            "The same as RemoteAddr, which looks through X-Forwarded-For as far as TRUSTED_PROXIES go.",
        ),
        Kind(
            "After", (Arg("datetime"),), _after, "The request comes after this time, ISO 8601 with an offset."
        ),
        Kind(
            "Before",
            (Arg("datetime"),),
            _before,
            "The request comes before this time, ISO 8601 with an offset.",
        ),
        Kind(
            "Between",
            (Arg("datetime1"), Arg("datetime2")),
            _between,
            "The request comes between these two times, ISO 8601 with an offset.",
        ),
        Kind(
            "Weight",
            (Arg("weight.group"), Arg("weight.weight", of=whole(0))),
            _weight,
            "Of each group one route is drawn for a request, in proportion to the shares.",
        ),
    )
}
