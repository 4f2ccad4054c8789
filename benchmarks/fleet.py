"""The servers that forward, side by side: the plain proxy, well-known ones, and the gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gateways, servers, tokens
from benchmarks.drive import Watched
from benchmarks.processes import Cores, Unavailable

PLAIN = "plain ClientSession loop"
CADDY = "Caddy"
PUBLIC = "gateway, public GET"
WITH_TOKEN = "gateway, JWT"
EVERYTHING = "gateway, JWT and gate"
_FOREIGN = {"nginx": servers.nginx, CADDY: servers.caddy, "Envoy": servers.envoy}


@dataclass(frozen=True, slots=True)
class Member:
    """One way through a server; ``tokens`` are used in turn."""

    name: str
    port: int
    watched: Watched
    path: str
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The servers that are up. ``skipped``: why others are left out, by name. ``jwks`` is the address of the keys."""

    members: Sequence[Member]
    skipped: Mapping[str, str]
    gateway: gateways.Gateway
    jwks: str

    def member(self, name: str) -> Member | None:
        """The member of this name, if it is there."""
        return next((member for member in self.members if member.name == name), None)


@contextlib.contextmanager
def fleet(
    folder: Path, cores: Cores, upstream: int, signed: Sequence[str], *, prefix: Sequence[str] = ()
) -> Iterator[Fleet]:
    """All servers in front of the service at the port ``upstream``, with the users of these tokens inside. ``prefix``
    as in ``gateways.gateway``."""
    skipped: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        jwks = stack.enter_context(tokens.jwks())
        plain = stack.enter_context(servers.python_server("plain", cores.server, upstream))
        members = [Member(PLAIN, plain.port, plain.watched, gateways.OWN, signed)]
        for name, serve in _FOREIGN.items():
            try:
                served = stack.enter_context(serve(upstream, cores, folder / name))
            except Unavailable as reason:
                skipped[name] = str(reason)
            else:
                members.append(Member(name, served.port, served.watched, gateways.OWN, signed))
        gateway = stack.enter_context(
            gateways.gateway(
                folder / "gateway",
                cores,
                jwks=jwks,
                upstream=upstream,
                allowed_in_max_capacity=len(signed),
                prefix=prefix,
            )
        )
        gateways.admit(gateway, signed, cores)
        members += [
            Member(PUBLIC, gateway.port, gateway.watched, gateways.PUBLIC, ()),
            Member(WITH_TOKEN, gateway.port, gateway.watched, gateways.OWN, signed),
            Member(EVERYTHING, gateway.port, gateway.watched, gateways.GATED, signed),
        ]
        yield Fleet(members, skipped, gateway, jwks)
