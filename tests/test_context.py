"""What is derived from a route table."""

from __future__ import annotations

import pytest

from gateway import context
from gateway.context import LiveTable
from gateway.routing.calls import parse_call
from gateway.routing.table import RouteTable


def test_public_calls_are_remembered_and_others_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    is_public = RouteTable.is_public

    def counted(table: RouteTable, method: str, path: str) -> bool:
        asked.append((method, path))
        return is_public(table, method, path)

    monkeypatch.setattr(RouteTable, "is_public", counted)
    monkeypatch.setattr(context, "_MAX_CACHED_CALLS", 2)
    tables = LiveTable(RouteTable(public=(parse_call("GET /open/**"),)))
    access = tables.current.access
    for _ in range(3):
        assert access.is_open("GET", "/open/a")
        assert not access.is_open("POST", "/open/a")
        assert not access.is_open("GET", "/open/a", gated=True)
    assert asked == [("GET", "/open/a"), *[("POST", "/open/a")] * 3]
    for path in ("/open/b", "/open/c", "/open/a", f"/open/{'x' * 300}"):
        # The third one empties the cache; the last one is too long for it.
        assert access.is_open("GET", path)
    assert len(asked) == 8
    tables.replace(RouteTable())
    assert not tables.current.access.is_open("GET", "/open/a")
