"""Trace contexts: what is understood, what is refused, what is sent on."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.observability import tracing
from gateway.observability.tracing import TRACE_HEADERS, TraceContext, begin

T = "4bf92f3577b34da6a3ce929d0e0e4736"
S = "00f067aa0ba902b7"
SHORT = "a3ce929d0e0e4736"


def text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as the next one reads them."""
    return {name.decode(): value.decode() for name, value in headers}


# Headers → trace id, parent, sampled.
CONTINUED: list[tuple[dict[str, str], str, str, bool]] = [
    ({"traceparent": f"00-{T}-{S}-01"}, T, S, True),
    ({"traceparent": f"00-{T}-{S}-00"}, T, S, False),
    ({"traceparent": f"00-{T}-{S}-03"}, T, S, True),
    ({"traceparent": f" 00-{T}-{S}-01 "}, T, S, True),
    ({"Traceparent": f"cc-{T}-{S}-01-what-comes-one-day"}, T, S, True),
    ({"b3": f"{T}-{S}-1"}, T, S, True),
    ({"b3": f"{T}-{S}-0"}, T, S, False),
    ({"b3": f"{T}-{S}-d-05e3ac9a4f6e3b90"}, T, S, True),
    ({"b3": f"{SHORT}-{S}-1"}, SHORT.zfill(32), S, True),
    ({"X-B3-TraceId": T, "X-B3-SpanId": S, "X-B3-Sampled": "1"}, T, S, True),
    ({"X-B3-TraceId": T.upper(), "X-B3-SpanId": S.upper(), "X-B3-Sampled": "false"}, T, S, False),
    ({"X-B3-TraceId": SHORT, "X-B3-SpanId": S, "X-B3-Flags": "1"}, SHORT.zfill(32), S, True),
    ({"traceparent": f"00-{T}-{S}-00", "b3": f"{SHORT}-{S}-1"}, T, S, False),
    ({"traceparent": "broken", "b3": f"{SHORT}-{S}-1"}, SHORT.zfill(32), S, True),
]


@pytest.mark.parametrize(("headers", "trace_id", "parent", "sampled"), CONTINUED)
def test_a_valid_trace_is_continued_with_the_clients_decision(
    headers: dict[str, str], trace_id: str, parent: str, sampled: bool
) -> None:
    context = begin(CIMultiDict(headers), probability=0.0 if sampled else 1.0)
    assert (context.trace_id, context.parent_id, context.sampled) == (trace_id, parent, sampled)
    assert re.fullmatch(r"[0-9a-f]{16}", context.span_id)
    assert context.span_id != parent


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": ""},
        {"traceparent": f"ff-{T}-{S}-01"},
        {"traceparent": f"00-{T}-{S}-01-more"},
        {"traceparent": f"00-{T}-{S}-1"},
        {"traceparent": f"00-{T.upper()}-{S}-01"},
        {"traceparent": f"00-{'0' * 32}-{S}-01"},
        {"traceparent": f"00-{T}-{'0' * 16}-01"},
        {"traceparent": f"00-{T}-{S}-01, 00-{T}-{S}-01"},
        {"b3": f"{T}"},
        {"b3": f"{T}-xyz-1"},
        {"b3": f"{'0' * 32}-{S}-1"},
        {"X-B3-TraceId": T},
        {"X-B3-SpanId": S},
        {"X-B3-TraceId": T + "0", "X-B3-SpanId": S},
    ],
)
def test_anything_else_begins_a_new_trace(headers: dict[str, str]) -> None:
    context = begin(CIMultiDict(headers))
    assert context.trace_id not in {T, SHORT.zfill(32), "0" * 32}
    assert re.fullmatch(r"[0-9a-f]{32}", context.trace_id)
    assert (context.parent_id, context.sampled) == (None, True)


@pytest.mark.parametrize(("headers", "sampled"), [({"b3": "0"}, False), ({"b3": "1"}, True)])
def test_a_decision_without_a_trace_counts_for_the_new_one(headers: dict[str, str], sampled: bool) -> None:
    context = begin(headers, probability=0.0 if sampled else 1.0)
    assert (context.sampled, context.parent_id) == (sampled, None)
    assert re.fullmatch(r"[0-9a-f]{32}", context.trace_id)


def test_a_trace_whose_sender_left_the_decision_open_is_sampled_by_probability() -> None:
    assert begin({"b3": f"{T}-{S}"}, probability=1.0).sampled
    assert not begin({"b3": f"{T}-{S}"}, probability=0.0).sampled
    assert not begin({}, probability=0.0).sampled


def test_of_many_traces_begun_the_share_asked_for_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "random", random.Random(1).random)
    sampled = sum(begin({}, probability=0.1).sampled for _ in range(10_000))
    assert 900 < sampled < 1100
    assert not any(begin({}, probability=0.0).sampled for _ in range(10_000))
    assert all(begin({}, probability=1.0).sampled for _ in range(10_000))


@pytest.mark.parametrize(
    ("state", "kept"), [("a=1,b=2", "a=1,b=2"), ("a=\x01", ""), ("x" * 513, ""), ("가=1", "")]
)
def test_tracestate_goes_on_if_it_is_short_and_printable(state: str, kept: str) -> None:
    context = begin({"traceparent": f"00-{T}-{S}-01", "tracestate": state})
    assert text(context.child().headers()).get("tracestate", "") == kept


def test_tracestate_in_several_parts_is_one() -> None:
    headers = CIMultiDict([("traceparent", f"00-{T}-{S}-01"), ("Tracestate", "a=1"), ("tracestate", "b=2")])
    assert begin(headers).state == "a=1,b=2"


def test_tracestate_without_a_trace_is_dropped() -> None:
    assert list(text(begin({"tracestate": "a=1"}).headers())) == ["traceparent"]


@pytest.mark.parametrize("sampled", [True, False])
def test_what_is_sent_on_is_understood_as_the_same_trace_below_the_sending_span(sampled: bool) -> None:
    ours = TraceContext(T, S, None, sampled)
    call = ours.child()
    assert (call.trace_id, call.parent_id, call.sampled) == (T, S, sampled)
    service = begin(text(call.headers()))
    assert (service.trace_id, service.parent_id, service.sampled) == (T, call.span_id, sampled)


@given(st.dictionaries(st.sampled_from(sorted(TRACE_HEADERS)), st.text(max_size=80)))
def test_no_header_makes_an_invalid_identifier(headers: dict[str, str]) -> None:
    context = begin(headers)
    assert re.fullmatch(r"[0-9a-f]{32}", context.trace_id)
    assert all(value.isprintable() for value in text(context.headers()).values())


def test_new_identifiers_differ() -> None:
    begun = [begin({}) for _ in range(1000)]
    assert len({one.trace_id for one in begun}) == len({one.span_id for one in begun}) == 1000
