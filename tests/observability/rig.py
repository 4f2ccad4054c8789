"""Exporters, outcomes and outputs that keep what they are given."""

from __future__ import annotations

import io
import threading

from gateway.observability.spans import Span
from gateway.observability.tracing import TraceContext

T, S = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
"""A trace and a span."""
SAMPLED = TraceContext(T, S, None, True)
UNSAMPLED = TraceContext(T, S, None, False)


class Kept(list[Span]):
    """An exporter that keeps all."""

    def export(self, span: Span, /) -> None:
        self.append(span)


class Counts(dict[str, int]):
    """How often there was each outcome."""

    def __call__(self, outcome: str, count: int) -> None:
        self[outcome] = self.get(outcome, 0) + count


class CountsOfReceivers(dict[tuple[str, str], int]):
    """How often there was each outcome at each receiver."""

    def __call__(self, receiver: str, outcome: str, count: int) -> None:
        self[receiver, outcome] = self.get((receiver, outcome), 0) + count


class StuckSink(io.StringIO):
    """Writes nothing until released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()

    def write(self, text: str, /) -> int:
        self.entered.set()
        assert self.released.wait(30)
        return super().write(text)
