"""Config Servers that are registered with Eureka. They are looked up before services are known, and when none answers
any more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from gateway.proxy.eureka.servers import Servers
from gateway.proxy.eureka.wire import parse_config_servers

_OK: Final = frozenset({200})


async def config_servers(servers: Servers, names: Sequence[str]) -> tuple[str, ...]:
    """Where the Config Servers are, by the first of ``names`` that has instances; user and password within the
    addresses. Empty if there is none. Raises EurekaAway."""
    said = await servers.ask("config", "GET", "apps", _OK, read=partial(parse_config_servers, names=names))
    return said.content or ()
