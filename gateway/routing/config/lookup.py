"""What ``${name}`` stands for in a Config Server's values: the environment's variable, else a property of the server.

The environment wins, as in Spring, so that one deployment can differ without a commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.routing.config.answer import LONGEST_VALUE, Scalar, Source
from gateway.routing.config.names import plain
from gateway.routing.placeholders import fill_from, in_environ

DEEPEST: Final = 16
"""Most properties that may stand for one another in a row."""


class Lookup:
    """Fills placeholders. ``used`` gathers the names of the properties that some placeholder stands for."""

    def __init__(self, sources: Sequence[Source], environ: Mapping[str, str]) -> None:
        self.used: set[str] = set()
        self._environ = environ
        self._texts: dict[str, str] = {}
        for source in sources:
            for name, found in source.properties.items():
                self._texts.setdefault(plain(name), text_of(found.value))
        # Each property is filled once, so values that repeat one another can't multiply the work.
        self._filled: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._asking: list[str] = []

    def fill(self, text: str) -> tuple[str, tuple[str, ...]]:
        """``text`` with its placeholders filled, and the names that have no value, those further down included."""
        deeper: list[str] = []

        def find(name: str) -> str | None:
            value = in_environ(name, self._environ)
            if value is not None:
                return value
            key = plain(name)
            if key not in self._texts:
                return None
            self.used.add(key)
            value, unset = self._property(key, name)
            deeper.extend(unset)
            return value

        filled, unset = fill_from(text, find)
        if len(filled) > LONGEST_VALUE:
            return "", ("… (its value is too long)",)
        return filled, (*unset, *deeper)

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
