"""What operators ask about a room, without Redis."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from gateway.waiting_room import operations
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.operations import Operations
from gateway.waiting_room.report import Minute


@pytest.mark.parametrize(("minutes", "aside"), [(6, False), (60, False), (61, True), (1440, True)])
async def test_a_long_report_is_read_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, minutes: int, aside: bool
) -> None:
    readers: list[int] = []

    def read(reply: Sequence[Any], count: int) -> list[Minute]:
        readers.append(threading.get_ident())
        return [Minute(count)]

    async def run(*args: object, **options: object) -> list[Any]:
        return [b"summary"]

    monkeypatch.setattr(operations, "parse_report", read)
    monkeypatch.setattr(operations, "parse_summary", lambda summary: summary)
    asked = Operations(RoomKeys("", "default"), cast(Any, run), cast(Any, None), cast(Any, None))
    assert await asked.report(minutes) == (b"summary", [Minute(minutes)])
    assert (readers[0] != threading.get_ident()) is aside
