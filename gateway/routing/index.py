"""Finds what a path may concern by the literal segments that patterns begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from gateway.routing.patterns import PathPattern

T = TypeVar("T")


def literal_prefix(pattern: PathPattern) -> str:
    """The literal segments all matching paths begin with, ``/api/v1``; empty if there are none."""
    return "".join(f"/{text}" for text in pattern.first_literals() if text)


def literal_beginning(pattern: PathPattern) -> str:
    """``literal_prefix``, or that with what the next segment begins with and a star: ``/api/v*``."""
    prefix, at = literal_prefix(pattern), len(pattern.first_literals())
    glob = pattern.segments[at].glob if pattern.head is None and at < len(pattern.segments) else None
    return f"{prefix}/{glob.beginning}*" if glob is not None and glob.beginning else prefix


class PrefixIndex(Generic[T]):
    """Items in their order, each with the prefixes of the paths it is about (see ``literal_beginning``)."""

    __slots__ = ("_alone", "_beginnings", "_depth", "_ranked")

    def __init__(self, items: Sequence[tuple[set[str], T]]) -> None:
        ranked: dict[str, dict[int, T]] = {}
        for rank, (prefixes, item) in enumerate(items):
            for prefix in prefixes:
                ranked.setdefault(prefix, {})[rank] = item
        self._ranked = ranked
        self._alone = {prefix: tuple(items.values()) for prefix, items in ranked.items()}
        whole = [prefix for prefix in ranked if not prefix.endswith("*")]
        self._depth = max((prefix.count("/") for prefix in whole), default=0)
        self._beginnings = sorted({len(prefix) - 1 for prefix in ranked if prefix.endswith("*")})

    def candidates(self, path: str) -> Sequence[T]:
        """The items that may concern ``path``, in their order; its cost grows with depth and with how many lengths
        beginnings have, not with items."""
        prefixes = [""] if "" in self._alone else []
        end = 0
        for _ in range(self._depth):
            end = path.find("/", end + 1)
            prefix = path if end < 0 else path[:end]
            if prefix in self._alone:
                prefixes.append(prefix)
            if end < 0:
                break
        for length in self._beginnings:
            beginning = f"{path[:length]}*"
            if beginning in self._alone:
                prefixes.append(beginning)
        if not prefixes:
            return ()
        if len(prefixes) == 1:
            return self._alone[prefixes[0]]
        ranked: dict[int, T] = {}
        for prefix in prefixes:
            ranked.update(self._ranked[prefix])
        return [ranked[rank] for rank in sorted(ranked)]
