"""What the times of admissions prove about a rate."""

from __future__ import annotations

import pytest

from tests.soak.rate import Span, too_many


@pytest.mark.parametrize(
    ("spans", "per_second", "broken"),
    [
        ([], 2, False),
        ([(0, 0.1), (0, 0.1)], 2, False),
        ([(0, 0.1), (0, 0.1), (0, 0.1)], 2, True),
        ([(0, 0.1), (0, 0.1), (0, 0.5)], 2, False),
        ([(0, 0.1), (0, 0.1), (0.4, 0.45)], 2, True),
        # The span may be long: then it may have been late.
        ([(0, 9), (0, 9), (0, 9), (0, 9)], 2, False),
        ([(5, 5.1), (0, 9), (5, 5.1), (5, 5.1)], 2, True),
        ([(0, 0.1), (1.5, 1.6)], 0.5, True),
        ([(0, 0.1), (1.5, 2.1)], 0.5, False),
        ([(n / 2, n / 2 + 0.01) for n in range(40)], 2, False),
        ([(n / 2.2, n / 2.2 + 0.01) for n in range(40)], 2, True),
    ],
)
def test_spans_prove_a_rate_broken_or_not(
    spans: list[tuple[float, float]], per_second: float, broken: bool
) -> None:
    assert (too_many([Span(*each) for each in spans], per_second) is not None) is broken
