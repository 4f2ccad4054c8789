"""docs/reference/tracing.md names the spans and tags that there are, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.observability import span_queue, spans, zipkin
from gateway.settings.model import TABLE, Settings

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "tracing.md").read_text(encoding="utf-8")
MADE = Path(str(spans.__file__)).read_text(encoding="utf-8")


def test_the_tags_of_the_table_are_those_in_the_code() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `") and line.count("|") == 5]
    assert len(rows) == 4
    named = {tag for row in rows for tag in re.findall(r"`([a-z]+(?:[._][a-z_]+)+)`", row.split("|")[4])}
    assert named == set(re.findall(r'"((?:http|gateway|db|queue|error)\.[a-z._]+)"', MADE)) - {
        "queue.admission"
    }
    for name in ("queue.admission", "response head", "BROKEN_OFF", "redis {script}"):
        assert name in MADE
        assert name.replace("{script}", "script") in TEXT


def test_the_figures_are_those_in_the_code() -> None:
    settings = Settings()
    endpoint = next(row for row in TABLE if row.name == "ZIPKIN_ENDPOINT")
    for figure in (
        f"a queue of {span_queue.MAX_WAITING} spans, which leave once a second",
        f"as soon as there are {span_queue.MAX_SPANS_PER_POST}",
        f"the {spans.MAX_WAITING} newest recorded lineups",
        f"in a [Spring environment](settings.md#spring-environment) `{endpoint.default_in(True)}`",
        f"`{settings.tracing_sampling_probability}` as in Spring Boot",
        f"`{settings.spring_application_name}` unless set",
    ):
        assert figure in TEXT, figure
    assert (span_queue.EVERY_SECONDS, span_queue.LAST_SECONDS, zipkin.ATTEMPTS) == (1.0, 2.0, 4)
    text = " ".join(TEXT.split())
    assert "tried four times" in text
    assert "sending for two seconds, and waits two more" in text
