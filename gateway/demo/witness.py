"""What the services can tell of who is in: they see gated requests only, and trust the gateway for the user.

From a user's first gated request to the last one (none further apart than a session lasts) that user must
have held a slot. So the most such spans that ever overlap is a lower bound of how full the room was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


def occupancy(spans: Iterable[tuple[float, float]]) -> Iterator[tuple[float, int]]:
    """At each span's beginning: when, and how many are under way. One that ends as another begins is over."""
    edges = []
    for start, end in spans:
        if end > start:
            edges += [(start, 1), (end, -1)]
    inside = 0
    for at, step in sorted(edges):
        inside += step
        if step > 0:
            yield at, inside


@dataclass(slots=True)
class Witness:
    """Collects gated requests per user. ``duration`` is the length of a session in seconds."""

    duration: float
    requests: int = 0
    nameless: int = 0
    _spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def gated(self, user: str, user_type: str, at: float) -> None:
        """A gated request of ``user`` arrived at ``at`` (seconds, monotonic).

        Only the crowd's own people ("CUSTOMER") are timed: they come once. A guest at the keyboard may
        leave and return within a session's length, which from here would look like one long stay.
        """
        self.requests += 1
        if user_type != "CUSTOMER":
            return
        spans = self._spans.setdefault(user, [])
        if spans and at - spans[-1][1] < self.duration:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))

    def no_name(self) -> None:
        """A request that the gateway should have named came without a user."""
        self.nameless += 1

    def most_in(self) -> int:
        """The most users who were in at one moment, as far as gated requests prove it."""
        spans = [span for spans in self._spans.values() for span in spans]
        return max((inside for _, inside in occupancy(spans)), default=0)
