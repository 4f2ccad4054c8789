"""docs/reference/security.md says what is so: the tests it names exist, and its limits are those in force."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE

from gateway.proxy import forward, strict_parsing
from gateway.server import connection as connections
from gateway.server import framing as pieces
from gateway.server.limits import ConnectionLimits

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reference" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)


def test_every_attack_names_the_test_that_holds_it() -> None:
    attacks = TEXT.partition("## Attacks")[2].partition("\n## ")[0]
    rows = [
        line for line in attacks.splitlines() if line.startswith("| ") and not line.startswith("| attack")
    ]
    assert len(rows) > 30
    assert [row for row in rows if "::test_" not in row and "the same |" not in row] == []


def test_every_hostile_test_is_named() -> None:
    known = {name for _, name in NAMED}
    for file in ("requests", "answers", "gate", "tokens"):
        found = re.findall(
            r"^(?:async )?def (test_\w+)\(", (ROOT / f"tests/hostile/test_{file}.py").read_text(), re.M
        )
        assert set(found) - known <= {"test_a_user_who_is_allowed_in_gets_through"}


def test_the_limits_are_those_in_force() -> None:
    limits = ConnectionLimits()
    table = {
        name.strip(): figure.strip()
        for name, figure in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", TEXT.partition("## Limits")[2], re.M)
    }
    assert table["request line, and each header line"] == f"{limits.line_bytes} bytes"
    assert table["number of headers"] == f"{limits.headers}"
    assert table["all of a head"] == f"{limits.head_bytes} bytes"
    assert table["time for a head, from its first byte"] == f"{limits.head_seconds:g} s"
    assert table["connection without a request"] == f"{limits.idle_seconds:g} s"
    assert table["body: time without a byte, while we would take one"] == f"{limits.body_seconds:g} s"
    assert table["answer: time without a byte taken"] == f"{limits.slow_client_seconds:g} s"
    assert table["answer: slowest client, once 60 s behind"] == f"{limits.slow_client_rate} bytes per second"
    assert table["reading on behind the last answer"] == f"{limits.linger_seconds:g} s"
    assert table["requests waiting behind one another, per connection"] == f"{MAX_MSG_QUEUE_SIZE}"
    assert table["chunks: bytes besides the data"] == (
        f"{pieces._CHUNK_OVERHEAD_BYTES} bytes and {pieces._CHUNK_OVERHEAD_RATIO} times the data"
    )
    assert table["rest of a body behind an early answer"] == f"{connections.MAX_DROPPED_BODY_BYTES} bytes"
    assert table["trailers of a chunked body"] == f"{limits.headers}, {limits.head_bytes} bytes"
    assert table["head of a service's answer"] == (
        f"{strict_parsing.MAX_LINES} lines of {strict_parsing.MAX_LINE_BYTES} bytes"
    )
    assert table["interim answers (1xx) of a service"] == f"{forward._MAX_INTERIM_HEADS}"
