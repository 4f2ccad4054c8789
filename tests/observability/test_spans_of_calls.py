"""Calls to services as spans, each with an identifier of its own."""

from __future__ import annotations

from gateway.observability.spans import Remote, TracedCalls, Tracer
from gateway.observability.tracing import begin
from gateway.proxy.upstream import UpstreamBase
from tests.observability.rig import SAMPLED, Kept

FIRST, SECOND = UpstreamBase("http", "10.0.0.1", 80), UpstreamBase("http", "10.0.0.2", 80)


def calls_of(kept: Kept, headers: list[tuple[bytes, bytes]], service: str = "seat-service") -> TracedCalls:
    return TracedCalls(Tracer(kept), SAMPLED, method="GET", route="seats", service=service, headers=headers)


def parent(headers: list[tuple[bytes, bytes]]) -> str:
    """The span that a service would take for its parent."""
    found = begin({name.decode(): value.decode() for name, value in headers}).parent_id
    assert found is not None
    return found


def test_a_call_is_told_to_the_service_and_noted_with_its_end() -> None:
    kept, headers = Kept(), [(b"Accept", b"*/*"), *SAMPLED.headers(), (b"tracestate", b"a=1")]
    calls = calls_of(kept, headers)
    calls.begin(FIRST)
    told = parent(headers)
    calls.answered(200)
    assert kept == []
    calls.done(True)
    [span] = kept
    assert span.context == SAMPLED._replace(span_id=told, parent_id=SAMPLED.span_id)
    assert (span.kind, span.name, span.error) == ("CLIENT", "GET seats", "")
    assert span.remote == Remote("seat-service", "10.0.0.1", 80)
    assert span.tags == {
        "http.request.method": "GET",
        "gateway.route": "seats",
        "http.response.status_code": 200,
    }
    assert [name for name, _ in span.moments] == ["response head"]
    assert [name for name, _ in headers] == [b"Accept", b"traceparent", b"tracestate"]


def test_each_attempt_is_a_span_and_has_its_own_identifier() -> None:
    kept, headers = Kept(), list(SAMPLED.headers())
    calls = calls_of(kept, headers)
    told = []
    calls.begin(FIRST)
    told.append(parent(headers))
    calls.failed("UPSTREAM_TIMEOUT")
    calls.begin(SECOND)
    told.append(parent(headers))
    # An idle connection had ended; the same instance is asked once more.
    calls.begin(SECOND)
    told.append(parent(headers))
    calls.answered(503)
    calls.done(True)
    assert [span.context.span_id for span in kept] == told
    assert len(set(told)) == 3
    assert [span.error for span in kept] == ["UPSTREAM_TIMEOUT", "UPSTREAM_UNREACHABLE", "503"]
    assert [span.remote and span.remote.host for span in kept] == ["10.0.0.1", "10.0.0.2", "10.0.0.2"]


def test_an_answer_that_breaks_off_is_an_error_and_an_end_is_told_once() -> None:
    kept = Kept()
    calls = calls_of(kept, list(SAMPLED.headers()), service="")
    calls.begin(FIRST)
    calls.answered(200)
    calls.done(False)
    calls.failed("UPSTREAM_TIMEOUT")
    calls.done(True)
    assert [span.error for span in kept] == ["BROKEN_OFF"]
    assert kept[0].remote == Remote("10.0.0.1", "10.0.0.1", 80)


def test_where_no_instance_was_asked_there_is_no_span() -> None:
    kept = Kept()
    calls = calls_of(kept, list(SAMPLED.headers()))
    calls.failed("NO_INSTANCE")
    calls.done(False)
    assert kept == []
