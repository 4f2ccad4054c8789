"""Cases recorded from a real Spring Cloud Gateway (tests/data/spring), and how they are put to our functions.

Every case runs. Where we differ on purpose the test names the case in a table of differences with the
reason, and asserts what we do instead; a difference that is in no table is a failure.
"""

from __future__ import annotations

import functools
import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from multidict import CIMultiDict

from gateway.routing.attributes import RequestAttributes
from gateway.routing.path import parse_target
from gateway.routing.spec.issues import Issue, RouteFileError
from gateway.routing.spec.loader import parse
from gateway.routing.table import RouteTable

FOLDER = Path(__file__).parents[1] / "data" / "spring"

Case = dict[str, Any]


@functools.cache
def cases(name: str) -> tuple[Case, ...]:
    """All cases of one file."""
    found = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["cases"]
    return tuple(found)


def case_id(case: Case) -> str:
    return str(case["id"])


def load_json(content: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> RouteTable:
    """Load a route file given as plain values (JSON is YAML)."""
    return parse(json.dumps(content).encode(), "case.yaml", environ or {})


def faults_of(load: Callable[[], RouteTable]) -> tuple[RouteTable | None, list[Issue]]:
    """The table, or the faults of the file."""
    try:
        return load(), []
    except RouteFileError as error:
        return None, list(error.issues)


def facts_of(request: Mapping[str, Any], *, trusted_peer: bool = False) -> RequestAttributes:
    """The facts of a recorded request; raises BadRequest where its target is refused.

    X-Forwarded-For of a trusted peer is believed from the right, as the proxy does.
    """
    headers = [(name, value.strip()) for name, value in request.get("headers", [])]
    host = next((value for name, value in headers if name.lower() == "host"), "")
    target = parse_target(request["target"], host)
    client = request.get("source", "127.0.0.1")
    if trusted_peer:
        client = _client(client, headers)
    return RequestAttributes(request.get("method", "GET"), target, CIMultiDict(headers), client, host, "http")


def _client(peer: str, headers: Iterable[tuple[str, str]]) -> str:
    """The rightmost usable X-Forwarded-For entry, or the peer."""
    entries = [
        part for name, value in headers if name.lower() == "x-forwarded-for" for part in value.split(",")
    ]
    last = entries[-1].strip().strip("[]") if entries else ""
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        return peer
