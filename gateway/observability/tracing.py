"""The trace of a request: W3C ``traceparent`` and B3 are read, W3C is sent on. Pure.

Identifiers come from ``random``: they must be cheap and unlikely to collide, not hard to guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import getrandbits, random
from typing import Final, NamedTuple

from multidict import MultiMapping, istr

TRACE_ID: Final = "X-Trace-Id"
"""The header in which every answer names its trace."""

# Names, in lower case, of headers about the client's trace. They must not be forwarded beside the gateway's own.
TRACE_HEADERS: Final = frozenset(
    {
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
    }
)

_TRACEPARENT = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?", re.ASCII
)
_B3_TRACE = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}", re.ASCII)
_B3_SPAN = re.compile(r"[0-9a-f]{16}", re.ASCII)
# In the form that aiohttp's headers look up fastest.
_TRACE_HEADERS = tuple(map(istr, ("traceparent", "b3", "x-b3-traceid", "x-b3-sampled", "x-b3-flags")))
_TRACESTATE = re.compile(r"[\x20-\x7e\t]{1,512}", re.ASCII)


class TraceContext(NamedTuple):
    """The gateway's place in a trace. Identifiers are lower-case hex: 32 digits for the trace, 16 for a span.

    ``sampled`` says whether spans of this trace are to be exported. ``state`` is the client's ``tracestate``. A named
    tuple, because one is made for each request.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    sampled: bool
    state: str = ""

    def child(self) -> TraceContext:
        """A span below this one, such as a call to a service."""
        return TraceContext(self.trace_id, _new_id(64), self.span_id, self.sampled, self.state)

    def traceparent(self) -> tuple[bytes, bytes]:
        """The header that names this span as the parent of the next server's span."""
        flags = "01" if self.sampled else "00"
        return (b"traceparent", f"00-{self.trace_id}-{self.span_id}-{flags}".encode())

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """All headers about the trace for the next server."""
        if self.state:
            return self.traceparent(), (b"tracestate", self.state.encode())
        return (self.traceparent(),)


def begin(headers: Mapping[str, str], probability: float = 1.0) -> TraceContext:
    """The server span of a request with these headers (any mapping that ignores case, or lower-case names).

    Continues the client's trace if it sent a valid one: ``traceparent`` before ``b3`` before ``X-B3-*``. Otherwise
    begins a trace, sampled with ``probability``. The client's sampling decision is kept if it made one.
    """
    for name in _TRACE_HEADERS:
        if name in headers:
            return _continued_trace(headers, probability)
    return _new_trace(probability)


def _continued_trace(headers: Mapping[str, str], probability: float) -> TraceContext:
    sent = _w3c(headers) or _b3(headers)
    if sent is None:
        return _new_trace(probability)
    trace_id, parent_id, sampled, state = sent
    decided = _sample(probability) if sampled is None else sampled
    return TraceContext(trace_id or _new_id(128), _new_id(64), parent_id, decided, state)


def _new_trace(probability: float) -> TraceContext:
    # Both identifiers at once, which halves the cost. All zeros, which mean none, come up once in 2**64 requests.
    both = f"{getrandbits(192):048x}"
    return TraceContext(both[:32], both[32:], None, random() < probability)


# Trace id and span id ("" and None where B3 sent nothing but a decision), the decision, tracestate.
_Sent = tuple[str, str | None, bool | None, str]


def _w3c(headers: Mapping[str, str]) -> _Sent | None:
    value = headers.get("traceparent")
    if value is None or (match := _TRACEPARENT.fullmatch(value.strip())) is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not (_is_nonzero(trace_id) and _is_nonzero(span_id)):
        return None
    # The only trace header that may come in several parts.
    parts = headers.getall("tracestate", ()) if isinstance(headers, MultiMapping) else ()
    state = ",".join(parts or (headers.get("tracestate", ""),)).strip()
    return trace_id, span_id, bool(int(flags, 16) & 1), state if _TRACESTATE.fullmatch(state) else ""


def _b3(headers: Mapping[str, str]) -> _Sent | None:
    single = headers.get("b3")
    if single is None:
        flags = "d" if headers.get("x-b3-flags") == "1" else headers.get("x-b3-sampled", "").lower()
        return _b3_sent(headers.get("x-b3-traceid"), headers.get("x-b3-spanid"), flags)
    parts = single.strip().split("-")
    if len(parts) == 1:
        return _b3_sent(None, None, parts[0])
    return _b3_sent(parts[0], parts[1], parts[2] if len(parts) > 2 else "")


def _b3_sent(trace_id: str | None, span_id: str | None, decision: str) -> _Sent | None:
    sampled = {"1": True, "d": True, "true": True, "0": False, "false": False}.get(decision)
    if trace_id is None and span_id is None:
        return None if sampled is None else ("", None, sampled, "")
    trace_id, span_id = (trace_id or "").lower(), (span_id or "").lower()
    if not (
        _B3_TRACE.fullmatch(trace_id)
        and _B3_SPAN.fullmatch(span_id)
        and _is_nonzero(trace_id)
        and _is_nonzero(span_id)
    ):
        return None
    return trace_id.zfill(32), span_id, sampled, ""


def _is_nonzero(identifier: str) -> bool:
    """Whether it is not all zeros, which means none."""
    return identifier.strip("0") != ""


def _new_id(bits: int) -> str:
    return f"{getrandbits(bits) or 1:0{bits // 4}x}"


def _sample(probability: float) -> bool:
    return random() < probability
