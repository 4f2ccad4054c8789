"""Filters of Spring Cloud Gateway that a route file may have, although there is nothing for them to do here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from gateway.routing.filters.base import Filter, FunctionFilter, RequestRewrite
from gateway.routing.spec.arguments import Arguments, Factory

_HOPS: Final = "what concerns one connection is always removed"
WITHOUT_EFFECT: Final = {
    "SaveSession": "the gateway keeps no sessions that could be saved; keep state outside the instances",
    "RemoveHopByHop": _HOPS,
    "RemoveNonProxyHeaders": _HOPS,
}
"""Why each has no effect."""


def _nothing(rewrite: RequestRewrite) -> None:
    """No-op."""


def _without_effect(why: str, args: Arguments) -> Filter:
    args.warn("no-effect", f"{args.kind} has no effect here: {why}; leave it out")
    return FunctionFilter(f"[{args.kind}]", _nothing, fixed=True)


FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    name: Factory(name, (), partial(_without_effect, why), f"Has no effect: {why}.")
    for name, why in WITHOUT_EFFECT.items()
}
