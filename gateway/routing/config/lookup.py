"""What ``${name}`` stands for in a Config Server's values: the environment's variable, else a property of the server.

The environment wins, as in Spring, so that one deployment can differ without a commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.errors import ConfigUnavailable
from gateway.placeholders import fill_from, in_environ
from gateway.routing.config.answer import LONGEST_VALUE, Scalar, Source
from gateway.spring.names import uniform

DEEPEST: Final = 16
"""Most properties that may stand for one another in a row."""
MOST_CHARACTERS: Final = 8 * 1024 * 1024
"""All filled values together: placeholders can make far more of an answer than its own length."""
MOST_NAMED: Final = 16
"""Names without a value that are kept of one text."""


class Lookup:
    """Fills placeholders. ``used`` gathers the names of the properties that some placeholder stands for.

    Filling raises ConfigUnavailable where a property is needed that can't be used.
    """

    def __init__(self, sources: Sequence[Source], environ: Mapping[str, str]) -> None:
        self.used: set[str] = set()
        self._environ = environ
        self._texts: dict[str, str] = {}
        self._faults: dict[str, ConfigUnavailable] = {}
        """Of properties that can't be used, by plain name."""
        for source in sources:
            for name, found in source.properties.items():
                key = uniform(name)
                if key not in self._texts and found.fault:
                    self._faults[key] = found.fault
                self._texts.setdefault(key, text_of(found.value))
        # Each property is filled once, so values that repeat one another can't multiply the work.
        self._filled: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._asking: list[str] = []
        self._left = MOST_CHARACTERS

    def fill(self, text: str) -> tuple[str, tuple[str, ...]]:
        """``text`` with its placeholders filled, and the names that have no value, those further down included."""
        if "${" not in text:
            return text, ()
        deeper: list[str] = []
        room = LONGEST_VALUE

        def find(name: str) -> str | None:
            nonlocal room
            if room < 0:
                return ""  # too long as a whole, so that it need not even be put together
            value, without = self._find(name)
            room -= len(value or "")
            deeper.extend(without[: MOST_NAMED - len(deeper)])
            return value

        filled, unset = fill_from(text, find)
        if room < 0 or len(filled) > LONGEST_VALUE:
            return "", ("… (its value is too long)",)
        self._left -= len(filled)
        if self._left < 0:
            return "", ("… (all values together are too long)",)
        return filled, (*unset, *deeper)[:MOST_NAMED]

    def _find(self, name: str) -> tuple[str | None, tuple[str, ...]]:
        """What ``name`` stands for, and the names further down that have no value."""
        value = in_environ(name, self._environ)
        key = uniform(name)
        if value is not None or key not in self._texts:
            return value, ()
        self.used.add(key)
        if key in self._faults:
            raise self._faults[key]
        return self._property(key, name)

    def _property(self, key: str, name: str) -> tuple[str, tuple[str, ...]]:
        if key in self._filled:
            return self._filled[key]
        if key in self._asking or len(self._asking) >= DEEPEST:
            return "", (f"{name} (it stands for itself)",)
        self._asking.append(key)
        try:
            found = self._filled[key] = self.fill(self._texts[key])
        finally:
            self._asking.pop()
        return found


def text_of(value: Scalar) -> str:
    """A value as text, truth values as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
