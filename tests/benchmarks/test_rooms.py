"""The table of what rooms without anyone in them cost."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.rooms import Side, table


def side(name: str, cpu: list[float], connections: int) -> Side:
    nobody: Any = None
    return Side(name, [], nobody, nobody, cpu, [2 * each for each in cpu], connections)


@pytest.mark.parametrize(
    ("many", "ratio", "verdict"), [([900.0, 900.0], "0.90", "target"), ([1100.0], "1.10", "missed")]
)
def test_the_rounds_are_paired(many: list[float], ratio: str, verdict: str) -> None:
    few = side("few", [1000.0] * len(many), 30)
    made = table(side("many", many, 31), few)
    assert [row[0] for row in made.rows] == ["many", "few"]
    assert made.rows[1][1:] == [1000, 2000, 30]
    assert made.notes[0].endswith(f"≤ 1: {ratio}, {verdict}")
