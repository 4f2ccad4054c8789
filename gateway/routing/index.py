"""Finds what a path may concern by the literal segments that patterns begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from gateway.routing.patterns import PathPattern

T = TypeVar("T")


def literal_prefix(pattern: PathPattern) -> str:
    """The literal segments all matching paths begin with, ``/api/v1``; empty if there are none."""
    return "".join(f"/{text}" for text in pattern.first_literals() if text)


class PrefixIndex(Generic[T]):
    """Items in their order, each with the prefixes (see ``literal_prefix``) of the paths it is about."""

    __slots__ = ("_alone", "_depth", "_ranked")

    def __init__(self, items: Sequence[tuple[set[str], T]]) -> None:
        ranked: dict[str, dict[int, T]] = {}
        for rank, (prefixes, item) in enumerate(items):
            for prefix in prefixes:
                ranked.setdefault(prefix, {})[rank] = item
        self._ranked = ranked
        self._alone = {prefix: tuple(items.values()) for prefix, items in ranked.items()}
        self._depth = max((prefix.count("/") for prefix in ranked), default=0)

    def candidates(self, path: str) -> Sequence[T]:
        """The items that may concern ``path``, in their order; its cost grows with depth, not with items."""
        prefixes = [""] if "" in self._alone else []
        end = 0
        for _ in range(self._depth):
            end = path.find("/", end + 1)
            prefix = path if end < 0 else path[:end]
            if prefix in self._alone:
                prefixes.append(prefix)
            if end < 0:
                break
        if len(prefixes) == 1:
            return self._alone[prefixes[0]]
        ranked: dict[int, T] = {}
        for prefix in prefixes:
            ranked.update(self._ranked[prefix])
        return [ranked[rank] for rank in sorted(ranked)]
