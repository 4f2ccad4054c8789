"""Indexes that find the patterns, among thousands, that may match a path: by literal prefix, or segment by segment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

from gateway.routing.path_readings import Reading
from gateway.routing.patterns import PathPattern
from gateway.routing.values import Value, values_of
from gateway.routing.wide_patterns import WidePattern, WideSegment

T = TypeVar("T")


def literal_prefix(pattern: PathPattern) -> str:
    """The literal segments that all matching paths begin with, such as ``/api/v1``; empty if there are none."""
    return "".join(f"/{text}" for text in pattern.first_literals() if text)


def literal_beginning(pattern: PathPattern) -> str:
    """``literal_prefix``. If the next segment begins with a literal text, that text and a star follow: ``/api/v*``."""
    prefix, at = literal_prefix(pattern), len(pattern.first_literals())
    glob = pattern.segments[at].glob if pattern.head is None and at < len(pattern.segments) else None
    return f"{prefix}/{glob.beginning}*" if glob is not None and glob.beginning else prefix


class PrefixIndex(Generic[T]):
    """Items in their order, each with the prefixes of the paths it applies to (see ``literal_beginning``)."""

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
        """The items that may apply to ``path``, in their order. The cost grows with the path's depth and the number of
        different beginning lengths, not with the number of items."""
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


_MAX_DEPTH: Final = 64
"""How many segments the index looks at. Segments behind these do not distinguish patterns."""


class _Node:
    """A node of the tree of segments. ``ranks`` are the patterns that end here, of which no further segment is
    compared. The others continue with a literal, a value, the beginning of a wildcard, or anything."""

    __slots__ = (
        "_anything",
        "_beginning_lengths",
        "_beginnings",
        "_literal_lengths",
        "_values",
        "literals",
        "only_literals",
        "ranks",
    )

    def __init__(self) -> None:
        self.ranks: list[int] = []
        self.literals: dict[str, _Node] = {}
        self.only_literals = True
        self._anything: _Node | None = None
        self._values: dict[Value, list[_Node]] = {}
        self._beginnings: dict[str, _Node] = {}
        self._literal_lengths: set[int] = set()
        self._beginning_lengths: set[int] = set()

    def child(self, segment: WideSegment) -> _Node:
        """The node behind a segment, created if it does not exist."""
        if segment.literal is not None:
            node = self.literals.get(segment.literal)
            if node is None:
                node = self.literals[segment.literal] = _Node()
                self._literal_lengths.add(len(segment.literal))
                self.only_literals = self.only_literals and not segment.values
                for value in segment.values:
                    self._values.setdefault(value, []).append(node)
            return node
        self.only_literals = False
        if segment.glob is not None and segment.glob.beginning:
            self._beginning_lengths.add(len(segment.glob.beginning))
            return self._beginnings.setdefault(segment.glob.beginning, _Node())
        if self._anything is None:
            self._anything = _Node()
        return self._anything

    def children(self, text: str) -> Iterable[_Node]:
        """The nodes behind a segment of a path, each once."""
        found: list[_Node] = []
        if node := self.literals.get(text):
            found.append(node)
        if "." in text:
            # By length of the literals and not by dots, because a text may have thousands of dots.
            beginnings = [text[:at] for at in self._literal_lengths if text[at : at + 1] == "."]
            found += filter(None, map(self.literals.get, beginnings))
        if self._values:
            for value in values_of(text):
                found += (node for node in self._values.get(value, ()) if node not in found)
        if self._beginnings:
            found += filter(None, (self._beginnings.get(text[:at]) for at in self._beginning_lengths))
        if self._anything is not None:
            found.append(self._anything)
        return found


class SegmentIndex:
    """Patterns by rank. The ``candidates`` for a path include every pattern that matches it."""

    __slots__ = ("_any_from_end", "_from_end", "_from_start")

    def __init__(self, patterns: Iterable[tuple[Sequence[WideSegment], bool]]) -> None:
        """Each pattern is a pair: its segments, and whether any number of segments may come before them."""
        self._from_start = _Node()
        self._from_end = _Node()
        self._any_from_end = False
        for rank, (all_segments, any_before) in enumerate(patterns):
            segments = list(reversed(all_segments) if any_before else all_segments)
            # Wildcards at the end match anything and may even be missing, so they are left out.
            while segments and segments[-1].matches_anything:
                segments.pop()
            node = self._from_end if any_before else self._from_start
            for segment in segments[:_MAX_DEPTH]:
                node = node.child(segment)
            node.ranks.append(rank)
            self._any_from_end = self._any_from_end or any_before

    def candidates(self, reading: Reading) -> list[int]:
        """The ranks of the patterns that may match the segments of a path, in their order."""
        found: list[int] = []
        _collect(self._from_start, reading, 0, found)
        if self._any_from_end:
            _collect(self._from_end, reading[::-1], 0, found)
        if len(found) > 1:
            found.sort()
        return found


def _collect(node: _Node, reading: Reading, at: int, found: list[int]) -> None:
    count = len(reading)
    while True:
        if node.ranks:
            found += node.ranks
        if at >= count:
            return
        text = reading[at]
        at += 1
        if node.only_literals and "." not in text:
            child = node.literals.get(text)
            if child is None:
                return
            node = child
        else:
            for child in node.children(text):
                _collect(child, reading, at, found)
            return


def index_of_wide(patterns: Iterable[WidePattern]) -> SegmentIndex:
    """An index for readings of paths."""
    # If a last "*" may be missing, the positions of the segments before it, counted from the end, are not known.
    return SegmentIndex(
        (
            () if each.of.head is not None and each.last_may_be_missing else each.segments,
            each.of.head is not None,
        )
        for each in patterns
    )


def index_of_exact(patterns: Iterable[PathPattern]) -> SegmentIndex:
    """An index for the segments of paths as they are."""
    return SegmentIndex(
        ([WideSegment(segment.literal, segment.glob) for segment in each.segments], each.head is not None)
        for each in patterns
    )
