"""What services ask of the waiting room, by headers of their answers that clients never get. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

COMMAND: Final = "X-Queue-Command"
STOCK: Final = "X-Queue-Stock"
MAX_STOCK: Final = 999_999_999
_LEAVE: Final = "leave"
_NUMBER: Final = re.compile("[0-9]{1,9}")


class Headers(Protocol):
    """The headers of an answer, by name in any case."""

    def __contains__(self, name: object, /) -> bool: ...
    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]: ...


class QueueCommands(NamedTuple):
    """What an answer asks of the room of its call."""

    leave: bool
    """The caller's session ends."""
    stock: int | None
    """So many things are left to sell; None: the answer says nothing of it."""
    unusable: int
    """How many headers have no meaning."""

    @property
    def headers(self) -> int:
        """How many headers there are."""
        return self.leave + (self.stock is not None) + self.unusable


def queue_commands(headers: Headers) -> QueueCommands | None:
    """The commands of an answer with these headers; None without any. Two numbers that differ are both unusable."""
    if COMMAND not in headers and STOCK not in headers:
        return None
    commands = [value.strip().lower() for value in headers.getall(COMMAND, ())]
    stocks = [value.strip() for value in headers.getall(STOCK, ())]
    leave = _LEAVE in commands
    numbers = {int(value) if _NUMBER.fullmatch(value) else None for value in stocks}
    stock = numbers.pop() if len(numbers) == 1 else None
    unusable = sum(value != _LEAVE for value in commands) + (len(stocks) if stock is None else 0)
    return QueueCommands(leave, stock, unusable)
