"""The headers by which services tell the waiting room something, as tables."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.proxy.headers import response_headers
from gateway.proxy.queue_commands import QueueCommands, queue_commands


@pytest.mark.parametrize(
    ("given", "leave", "stock", "unusable"),
    [
        ([("X-Queue-Command", "leave")], True, None, 0),
        ([("x-queue-command", " Leave\t")], True, None, 0),
        ([("X-Queue-Command", "stay")], False, None, 1),
        ([("X-Queue-Command", "")], False, None, 1),
        ([("X-Queue-Command", "leave, leave")], False, None, 1),
        ([("X-Queue-Command", "leave"), ("X-Queue-Command", "x")], True, None, 1),
        ([("X-Queue-Stock", "37")], False, 37, 0),
        ([("X-Queue-Stock", "0")], False, 0, 0),
        ([("X-Queue-Stock", "999999999")], False, 999_999_999, 0),
        ([("X-Queue-Stock", "1000000000")], False, None, 1),
        ([("X-Queue-Stock", "-1")], False, None, 1),
        ([("X-Queue-Stock", "1.5")], False, None, 1),
        ([("X-Queue-Stock", "\u0663")], False, None, 1),
        ([("X-Queue-Stock", "5"), ("X-Queue-Stock", "05")], False, 5, 0),
        ([("X-Queue-Stock", "5"), ("X-Queue-Stock", "6")], False, None, 2),
        ([("X-Queue-Stock", "5"), ("X-Queue-Stock", "x")], False, None, 2),
        ([("X-Queue-Stock", "0"), ("X-Queue-Command", "leave")], True, 0, 0),
    ],
)
def test_commands(given: list[tuple[str, str]], leave: bool, stock: int | None, unusable: int) -> None:
    found = queue_commands(CIMultiDictProxy(CIMultiDict(given)))
    assert found == QueueCommands(leave, stock, unusable)


def test_an_answer_without_them_has_no_commands() -> None:
    assert queue_commands(CIMultiDict({"X-Queue": "leave", "X-Stock": "5"})) is None


def test_they_are_no_headers_for_a_client() -> None:
    raw = [(b"X-Queue-Command", b"leave"), (b"A", b"b"), (b"x-QUEUE-stock", b"5")]
    assert response_headers(raw).fields == [(b"A", b"b")]
