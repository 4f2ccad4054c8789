"""The pages about metrics and alarms are held against the registry and the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.monitoring.metric_names import families
from tests.monitoring.prometheus import RULES
from tests.support.pages import names, rows, section

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
MONITOR = (TOP / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
NAMING = sorted(
    file
    for file in (*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "deploy").rglob("*"))
    if file.is_file() and re.search("(?<![a-z_])gateway_[a-z]", file.read_text(encoding="utf-8"))
)


def described(text: str) -> dict[str, tuple[str, list[str]]]:
    """Of each metric in these tables its type and labels."""
    return {names(row[:1])[0]: (row[1], names([row[2]])) for row in rows(text, 4) if row[0].startswith("`")}


def test_every_metric_is_described_with_type_and_labels_and_nothing_else() -> None:
    expected = {one.name: (one.type, sorted(one.labels)) for one in families()}
    found = {
        name: (kind, sorted(labels))
        for name, (kind, labels) in described(section(PAGE, "## What is measured")).items()
    }
    assert found == expected


def test_so_is_every_metric_under_springs_names() -> None:
    expected = {one.name: (one.type, sorted(one.labels)) for one in families(spring=True)}
    found = {
        name: (kind, sorted(labels))
        for name, (kind, labels) in described(section(PAGE, "## Spring's names")).items()
    }
    assert found == expected


def test_every_alarm_has_its_advice_and_nothing_else() -> None:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    alarms = [rule["alert"] for group in groups for rule in group["rules"]]
    assert names(row[0] for row in rows(section(MONITOR, "## Alarms"), 3)[1:]) == alarms


@pytest.mark.parametrize("file", NAMING, ids=lambda file: str(file.relative_to(TOP)))
def test_no_metric_is_named_that_does_not_exist(file: Path) -> None:
    known = {name for one in (*families(), *families(spring=True)) for name in (one.name, *one.samples)}
    # Neither a part of another name, nor the name of a file or of a test.
    found = set(re.findall(r"(?<![\w/.])gateway_[a-z_]+\b(?!\.)", file.read_text(encoding="utf-8")))
    assert found <= known


def test_such_names_are_looked_for_where_they_are() -> None:
    assert {"metrics.md", "operations.md", "alerts.yml", "gateway.json"} <= {file.name for file in NAMING}
