"""Many hashes in a few bytes objects: less memory than a list, and nothing for the garbage collector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from gateway.draw.slices import Steps

STEP_VALUES: Final = 256
"""How many values one step handles. Each step takes less than a millisecond."""
_PARTS: Final = 256


class Packed:
    """Values of ``width`` bytes in ascending order. ``parts`` has those that begin with each byte, one after the
    other."""

    __slots__ = ("_parts", "_starts", "_width")

    def __init__(self, parts: Sequence[bytes], width: int) -> None:
        self._parts = parts
        self._width = width
        self._starts = [0, *accumulate(len(part) // width for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[bytes]:
        width = self._width
        for part in self._parts:
            for start in range(0, len(part), width):
                yield part[start : start + width]

    def index(self, value: bytes) -> int:
        """The place of ``value``, from 0. Raises ValueError if it is not there."""
        width = self._width
        if len(value) == width:
            part = self._parts[value[0]]
            low, high = 0, len(part) // width
            while low < high:
                middle = (low + high) // 2
                if part[middle * width : (middle + 1) * width] < value:
                    low = middle + 1
                else:
                    high = middle
            if part[low * width : (low + 1) * width] == value:
                return self._starts[value[0]] + low
        raise ValueError("not among these values")


def sort(values: Iterable[bytes], width: int) -> Steps[Packed]:
    """Packs ``values`` in ascending order; each must have ``width`` bytes, else ValueError.

    The values are hashes, so that their first bytes spread them over 256 lists, each of which is short enough to be
    sorted in one step.
    """
    lists: list[list[bytes]] = [[] for _ in range(_PARTS)]
    for count, value in enumerate(values, 1):
        if len(value) != width:
            raise ValueError(f"a value has {len(value)} bytes, not {width}")
        lists[value[0]].append(value)
        if count % STEP_VALUES == 0:
            yield
    parts = []
    for each in lists:
        each.sort()
        parts.append(b"".join(each))
        each.clear()
        yield
    return Packed(parts, width)
