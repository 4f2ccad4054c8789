"""Filters for headers that the gateway writes itself: which have an effect, and that the others are warned of."""

from __future__ import annotations

import pytest

from gateway.auth import identity
from gateway.observability.tracing import TRACE_HEADERS
from gateway.proxy import headers as proxy_headers
from gateway.routing import own_headers
from gateway.routing.own_headers import (
    describes_client,
    is_forwarding_header,
    no_effect_in_request,
    no_effect_in_response,
)
from gateway.routing.spec.loader import parse


def warned(filter_text: str, *, default: bool = False) -> list[tuple[str, str]]:
    route = "routes:\n- {id: r, uri: http://h, predicates: [Path=/**]"
    text = f"{route}}}\n" if default else f"{route}, filters: ['{filter_text}']}}\n"
    if default:
        text += f"default-filters: ['{filter_text}']\n"
    return [(each.rule, each.message) for each in parse(text.encode(), "routes.yaml", {}).warnings]


IDENTITY = ["X-User-Id", "x_user_type", "XGatewaySignature", "X_Queue_Pass"]
CALL = ["X-HTTP-Method-Override", "X-Original-URL"]
CONNECTION = ["Proxy-Authorization", "Proxy_Authenticate", "Proxy-Connection"]
OTHERS = ["Expect", "Proxy", "traceparent", "tracestate", "b3", "X-B3-TraceId"]


@pytest.mark.parametrize("name", [*IDENTITY, *CALL, *CONNECTION, *OTHERS])
@pytest.mark.parametrize(
    "filter_text",
    [
        "AddRequestHeader={}, x",
        "SetRequestHeader={}, x",
        "AddRequestHeadersIfNotPresent={}:x",
        "MapRequestHeader=X-A, {}",
    ],
)
def test_a_filter_that_sets_what_is_no_route_s_is_warned_of(filter_text: str, name: str) -> None:
    ((rule, message),) = warned(filter_text.format(name))
    assert rule == "no-effect"
    assert f": {name} has no effect: " in message
    assert warned(filter_text.format(name), default=True)[0] == (rule, message)


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
        "X-Real-IP",
        "Forwarded",
        "X-A",
        "X-Script-Name",
    ],
)
@pytest.mark.parametrize(
    "filter_text", ["AddRequestHeader={}, x", "SetRequestHeader={}, x", "AddRequestHeadersIfNotPresent={}:x"]
)
def test_a_filter_that_has_an_effect_is_not(filter_text: str, name: str) -> None:
    assert warned(filter_text.format(name)) == []


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X_Forwarded_Prefix", "X-Real-IP", "Forwarded"])
def test_a_header_of_a_client_never_becomes_what_the_gateway_says_of_it(name: str) -> None:
    ((rule, message),) = warned(f"MapRequestHeader=X-A, {name}")
    assert (rule, "must not become" in message) == ("no-effect", True)


@pytest.mark.parametrize(
    ("filter_text", "effect"),
    [
        ("RemoveRequestHeader=X-Forwarded-For", False),
        ("RemoveRequestHeader=X-Real-IP", False),
        ("RemoveRequestHeader=Forwarded", False),
        ("RemoveRequestHeader=traceparent", False),
        ("RemoveRequestHeader=X-Forwarded-Prefix", True),
        # What is meant comes about: no client's arrives.
        ("RemoveRequestHeader=X-User-Id", True),
        ("RemoveRequestHeader=Proxy-Authorization", True),
        ("RemoveRequestHeader=Cookie", True),
        ("RemoveResponseHeader=X-Trace-Id", False),
        ("RemoveResponseHeader=Proxy-Authenticate", True),
        ("AddResponseHeader=X-Trace-Id, x", False),
        ("SetResponseHeader=x-trace-id, x", False),
        ("SetResponseHeader=Proxy-Authenticate, Basic", False),
        ("DedupeResponseHeader=Vary X-Trace-Id", False),
        ("RewriteResponseHeader=X-Trace-Id, a, b", False),
        ("SetResponseHeader=X-User-Id, x", True),
        ("SetResponseHeader=Expect, x", True),
        ("SetResponseHeader=X-Forwarded-For, x", True),
    ],
)
def test_what_a_filter_takes_away_or_says_to_the_client(filter_text: str, effect: bool) -> None:
    assert [rule for rule, _ in warned(filter_text)] == ([] if effect else ["no-effect"])


def test_what_is_said_here_is_what_is_done_elsewhere() -> None:
    """The rooms that remove these headers keep lists of their own."""
    closed = {name.decode() for name in identity._IDENTITY_HEADERS}
    assert set(own_headers._NO_EFFECT) == closed
    hops = {name.decode() for name in proxy_headers._HOP_BY_HOP if name.startswith(b"proxy")}
    assert all(no_effect_in_request(name) and no_effect_in_response(name) for name in hops)
    assert all(map(no_effect_in_request, TRACE_HEADERS))
    rewritten = {name.decode() for name in proxy_headers._REWRITTEN}
    assert {name for name in rewritten if is_forwarding_header(name)} == rewritten
    known = {name.decode() for name in proxy_headers._STRIPPED_FROM_REQUESTS} - {"host"}
    # Those that concern the message's framing or the connection are faults.
    issues = {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
    assert {name for name in known if not (no_effect_in_request(name) or describes_client(name))} == issues
