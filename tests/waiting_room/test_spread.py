"""Quantiles from counts by class."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from gateway.waiting_room.spread import ERRORS, WAITS, Classes, added

LUA = Path("lua_scripts/includes/summary.lua").read_text(encoding="utf-8")


@pytest.mark.parametrize("classes", [WAITS, ERRORS])
def test_a_class_ends_where_the_next_one_begins(classes: Classes) -> None:
    assert classes.of(0) == 0
    assert classes.of(classes.first * 0.999) == 0
    for at in range(1, classes.last + 1):
        end = classes.first * classes.factor ** (at - 1)
        assert (classes.of(end * 0.999), classes.of(end * 1.001)) == (at - 1, at)
    assert classes.of(1e300) == classes.last


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_a_quantile_of_waits_is_off_by_a_tenth_at_most(share: float) -> None:
    source = random.Random(7)
    waits = sorted(source.lognormvariate(4, 1.5) + 1 for _ in range(5000))
    counts: dict[int, int] = {}
    for wait in waits:
        counts[WAITS.of(wait)] = counts.get(WAITS.of(wait), 0) + 1
    found = WAITS.quantile(share, counts)
    assert found == pytest.approx(waits[round(share * (len(waits) - 1))], rel=0.2 if share in {0, 1} else 0.1)


def test_nothing_has_no_quantile() -> None:
    assert WAITS.quantile(0.5, {}) is None
    assert WAITS.quantile(0.5, {3: 0}) is None


def test_counts_are_added_by_class() -> None:
    assert added([{1: 2}, {}, {1: 1, 5: 1}]) == {1: 3, 5: 1}


def test_the_scripts_have_the_same_classes() -> None:
    (numbers,) = re.findall(
        r"ms < (\d+) and 0 or math.min\((\d+), math.floor\(math.log\(ms / (\d+)\) / math.log\(([\d.]+)\)\)",
        LUA,
    )
    first, last, again, factor = map(float, numbers)
    assert (first, again, last, factor) == (WAITS.first * 1000, first, WAITS.last, WAITS.factor)
