"""How numbers are spread: counted by class in Redis, so that many of them take little room, and read as quantiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Classes:
    """Class 0 ends at ``first``; each further class ends at ``factor`` times the last one's end, and class ``last`` has
    no end."""

    first: float
    factor: float
    last: int

    def of(self, value: float) -> int:
        """The class of a value of 0 or more."""
        if value < self.first:
            return 0
        return min(self.last, math.floor(math.log(value / self.first) / math.log(self.factor)) + 1)

    def quantile(self, share: float, counts: Mapping[int, int]) -> float | None:
        """The value that ``share`` of all do not exceed; None without any. Within a class values are taken to be evenly
        spread."""
        total = sum(counts.values())
        if total == 0:
            return None
        wanted, seen = share * total, 0
        at = 0
        for at in sorted(counts):
            count = counts[at]
            if count and seen + count >= wanted:
                low = self.first * self.factor ** (at - 1) if at else 0.0
                high = self.first * self.factor**at
                return low + (high - low) * (wanted - seen) / count
            seen += count
        return self.first * self.factor**at


WAITS: Final = Classes(0.5, 1.2, 70)
"""Of waits, in seconds: a quantile is off by a tenth at most. ``includes/summary.lua`` has the same classes."""

ERRORS: Final = Classes(0.01, 1.5, 20)
"""Of errors of estimates, as a share of the real wait."""


def added(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sum of several counts by class."""
    total: dict[int, int] = {}
    for each in counts:
        for at, count in each.items():
            total[at] = total.get(at, 0) + count
    return total
