"""Tables, ratios and targets."""

from __future__ import annotations

import json

import pytest

from benchmarks.report import (
    Limit,
    Row,
    Sample,
    Table,
    Target,
    cpu_ratio,
    limits_table,
    percentile,
    rate_ratio,
    rate_table,
)


def sample(answers: int, cpu: float, seconds: float = 1.0, **more: float) -> Sample:
    return Sample(answers, seconds, cpu, **more)  # type: ignore[arg-type]


REFERENCE = Row("reference", [sample(1000, 0.5), sample(500, 0.25)])
TWICE = Row("twice", [sample(2000, 0.5), sample(1000, 0.25)])


def test_a_sample_knows_rate_cost_and_share_of_a_core() -> None:
    one = sample(1000, 0.25, seconds=2.0)
    assert (one.rate, one.cpu_us, one.busy) == (500.0, 250.0, 0.125)


def test_a_sample_without_answers_costs_what_it_cost() -> None:
    assert sample(0, 0.5).cpu_us == 0.5e6


def test_ratios_above_one_are_better_than_the_reference() -> None:
    assert rate_ratio(TWICE, REFERENCE) == 2.0
    assert cpu_ratio(TWICE, REFERENCE) == 2.0


def test_a_round_in_which_the_machine_was_slow_for_all_changes_no_ratio() -> None:
    steady = Row("steady", [sample(1000, 0.1), sample(100, 0.1), sample(1000, 0.1)])
    other = Row("other", [sample(3000, 0.1), sample(300, 0.1), sample(3000, 0.1)])
    assert rate_ratio(other, steady) == pytest.approx(3.0)
    assert cpu_ratio(other, steady) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "row",
    [
        Row("no samples"),
        Row("nothing answered", [sample(0, 0.1)]),
        Row("too short to cost", [sample(5, 0.0)]),
    ],
    ids=lambda row: row.name,
)
def test_without_figures_of_both_there_is_no_ratio(row: Row) -> None:
    assert cpu_ratio(row, REFERENCE) is None
    assert cpu_ratio(REFERENCE, row) is None
    assert rate_ratio(row, REFERENCE) is None


def test_a_table_holds_each_row_beside_the_reference() -> None:
    table = rate_table("t", [REFERENCE, TWICE], "reference")
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [cell["CPU ratio"] for cell in cells] == [1.0, 2.0]
    assert [cell["req/s"] for cell in cells] == [750, 1500]
    assert [cell["µs CPU"] for cell in cells] == [500.0, 250.0]


def test_a_skipped_row_is_a_note_with_the_reason() -> None:
    table = rate_table("t", [REFERENCE, Row("Envoy", skipped="envoy is not installed")], "reference")
    assert len(table.rows) == 1
    assert table.notes == ["Envoy: skipped, envoy is not installed"]


def test_failed_answers_spoil_a_row_visibly() -> None:
    table = rate_table("t", [Row("reference", [sample(10, 0.1, failed=3)])], "reference")
    assert table.notes == ["reference: 3 answers were no success; its figures mean nothing"]


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target("twice", 1.5), "target: twice ≥ 1.5 × reference, by CPU: 2.00, met"),
        (Target("twice", 2.5), "target: twice ≥ 2.5 × reference, by CPU: 2.00, missed"),
        (Target("nobody", 1.0), "target: nobody ≥ 1 × reference, by CPU: not measured"),
    ],
)
def test_a_target_is_judged(target: Target, verdict: str) -> None:
    assert rate_table("t", [REFERENCE, TWICE], "reference", target).notes == [verdict]


def test_the_cost_of_redis_is_shown_where_there_is_one() -> None:
    table = rate_table("t", [REFERENCE, Row("ours", [sample(1000, 0.1, redis_cpu=0.01)])], "reference")
    at = list(table.columns).index("Redis µs")
    assert [row[at] for row in table.rows] == [None, 10.0]


def test_a_table_as_text_has_aligned_columns_and_notes_below() -> None:
    table = Table("title", ("", "n", "ratio"), [["first", 1234567, 1.5], ["second one", None, 12.345]], ["x"])
    assert table.as_text().splitlines() == [
        "title",
        "",
        "                    n  ratio",
        "first       1,234,567   1.50",
        "second one          -   12.3",
        "  x",
    ]


def test_a_table_without_columns_is_its_notes() -> None:
    assert Table("title", (), (), ["a", "b"]).as_text() == "title\n  a\n  b"


def test_a_table_for_machines_has_an_object_per_row() -> None:
    table = Table("title", ("", "n"), [["a", 1]], ["x"])
    assert json.loads(json.dumps(table.as_json())) == {
        "title": "title",
        "rows": [{"": "a", "n": 1}],
        "notes": ["x"],
    }


@pytest.mark.parametrize(("part", "value"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentiles_are_values_that_were_seen(part: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), part) == value


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (5.0, False, "goal"),
        (8.0, False, "target"),
        (11.0, False, "missed"),
        (11.0, True, "target"),
        (9.0, True, "missed"),
    ],
)
def test_a_figure_is_judged_by_goal_and_target(value: float, at_least: bool, verdict: str) -> None:
    limit = Limit("figure", value, 10, 12 if at_least else 6, at_least)
    assert limit.verdict == verdict
    assert limits_table("figures", [limit]).rows[0][-1] == verdict
