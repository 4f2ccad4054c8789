"""Flat property names, taken apart and compared as Spring does: ``a.b-c[0]`` is ``a.bC[0]``. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.spring.names import uniform

DEEPEST: Final = 40
"""Most segments of a name; what is deeper is nothing a gateway reads."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One step of a name. ``key`` is an index for ``[0]``, else the text as written (``[/**]`` with its brackets);
    ``until`` is the name up to and with this step, as written."""

    key: str | int
    until: str

    @property
    def plain(self) -> str | int:
        """What counts where Spring compares names loosely."""
        return uniform(self.key) if isinstance(self.key, str) else self.key


def split(name: str) -> tuple[Segment, ...]:
    """The steps of a name; none if it can't be taken apart or is too deep."""
    segments: list[Segment] = []
    for key, end in _steps(name):
        if key == "" or len(segments) == DEEPEST:
            return ()
        segments.append(Segment(key, name[:end]))
    return tuple(segments)


def _steps(name: str) -> Iterator[tuple[str | int, int]]:
    """Each step with the position behind it; an empty key where the name is malformed."""
    at = 0
    while at < len(name):
        if name[at] == "[":
            end = _closing(name, at)
            inside = name[at + 1 : end - 1]
            yield (int(inside) if _is_index(inside) else name[at:end] if inside else ""), end or len(name)
            if not end:
                return
        else:
            at += name[at] == "." and at > 0
            end = next((i for i in range(at, len(name)) if name[i] in ".["), len(name))
            yield name[at:end], end
        at = end


def _closing(name: str, at: int) -> int:
    """The position behind the bracket that closes the one at ``at``; 0 if there is none."""
    depth = 0
    for index in range(at, len(name)):
        depth += (name[index] == "[") - (name[index] == "]")
        if not depth:
            return index + 1
    return 0


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6
