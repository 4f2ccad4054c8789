"""A route's metadata: kept as written, and what of it this gateway acts on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.routing.cors import CorsRule, parse_cors
from gateway.routing.document import Node, Text, plain
from gateway.routing.faults import RuleBroken
from gateway.routing.value_types import TIMEOUT


@dataclass(frozen=True, slots=True)
class Metadata:
    """``values`` as in the file; timeouts in seconds, None leaves the settings' and infinity means none."""

    values: Mapping[str, object] = field(default_factory=dict)
    cors: CorsRule | None = None
    allow_actuator: bool = False
    response_timeout: float | None = None
    connect_timeout: float | None = None


def read_metadata(node: Node | None) -> Metadata:
    """Read ``metadata:``; raises RuleBroken (rules ``metadata``, ``cors``)."""
    if node is None or (isinstance(node, Text) and node.null):
        return Metadata()
    values = plain(node)
    if not isinstance(values, dict):
        raise RuleBroken("metadata", "metadata must be a mapping")
    cors = values.get("cors")
    if cors is not None and not isinstance(cors, dict):
        raise RuleBroken("cors", "cors must be a mapping")
    allow = values.get("allow-actuator", False)
    if not isinstance(allow, bool):
        raise RuleBroken("metadata", f"allow-actuator must be true or false, not {allow!r}")
    return Metadata(
        values,
        # Of an empty mapping Spring's configuration keeps nothing, so that the file's rule counts.
        parse_cors(cors) if cors else None,
        allow,
        _timeout(values, "response-timeout"),
        _timeout(values, "connect-timeout"),
    )


def _timeout(values: Mapping[str, object], key: str) -> float | None:
    """Milliseconds in the file, as in Spring; a negative number there means none."""
    value = values.get(key)
    if value is None:
        return None
    milliseconds = None if isinstance(value, bool) else TIMEOUT.read(str(value))
    if milliseconds is None:
        raise RuleBroken("metadata", f"{key} must be {TIMEOUT.wanted}, not {value!r}")
    return milliseconds / 1000 if milliseconds > 0 else math.inf
