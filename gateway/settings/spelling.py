"""Whether a name is probably a misspelt other one. Pure, and fast enough for a whole environment of names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+")


def distance(one: str, other: str) -> int:
    """The number of edits from one text to the other: a character added, dropped or replaced, or two neighbours
    swapped."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, character in enumerate(one, 1):
        oldest, before, row = before, row, [at] + [0] * len(other)
        for to, wanted in enumerate(other, 1):
            row[to] = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (character != wanted))
            if at > 1 and to > 1 and character == other[to - 2] and one[at - 2] == wanted:
                row[to] = min(row[to], oldest[to - 2] + 1)
    return row[-1]


def is_near(one: str, other: str, edits: int) -> bool:
    """Whether at most ``edits`` edits lie between the two."""
    if abs(len(one) - len(other)) > edits:
        return False
    counts, others = Counter(one), Counter(other)
    # The letters that differ are a lower bound of the number of edits; this check is cheap and rules out most names.
    if max((counts - others).total(), (others - counts).total()) > edits:
        return False
    return distance(one, other) <= edits


def looks_like(name: str, other: str) -> bool:
    """Whether ``name`` is probably ``other`` misspelt, ignoring case. Names of one series (``hall-1`` and ``hall-2``,
    ``room-a`` and ``room-b``) are not alike."""
    (one, joined), (two, others) = _words(name), _words(other)
    # Two words may differ, each by at most three letters in length; this rules out nearly all pairs.
    if abs(len(joined) - len(others)) > 6 or name == other:
        return False
    if joined == others:
        return True
    if len(one) != len(two):
        return len(name) > 5 and is_near(joined, others, 1)
    common = set(one) & set(two)
    if len(one) - len(common) > 2 and not common.issuperset(one):
        return False
    if sorted(one) == sorted(two):
        return True
    differing = [pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]]
    return len(differing) <= 2 and all(_slip(*pair) for pair in differing)


def nearest(name: str, others: Iterable[str]) -> str | None:
    """The first of ``others`` that ``name`` looks like."""
    return next((other for other in others if looks_like(name, other)), None)


class NameIndex:
    """A set of names in which many others are looked up by the words that they share."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_word: dict[str, list[str]] = {}
        for name in sorted(names):
            words, joined = _words(name)
            for word in {*words, joined}:
                self._by_word.setdefault(word, []).append(name)

    def related(self, name: str) -> list[str]:
        """The names that share a word with this one, in their order: only these can be meant."""
        words, joined = _words(name)
        found = chain.from_iterable(self._by_word.get(word, ()) for word in {*words, joined})
        return sorted(set(found))


def _slip(one: str, other: str) -> bool:
    """Whether one word is the other one misspelt."""
    longest = max(len(one), len(other))
    if longest < 3 or _letters(one) == _letters(other):
        return False
    if one.removesuffix("ies") == other.removesuffix("y") or other.removesuffix("ies") == one.removesuffix(
        "y"
    ):
        return True
    return is_near(one, other, 1 if longest < 6 else 2)


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


@lru_cache(maxsize=1024)
def _words(name: str) -> tuple[tuple[str, ...], str]:
    """The words of a name in lower case, and all of them joined."""
    words = tuple(_WORD.findall(name.lower()))
    return words, "".join(words)
