"""Reading the project's pages in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable


def section(text: str, heading: str) -> str:
    """What stands below ``heading`` until the next heading of the same level."""
    level = heading.partition(" ")[0]
    begin = text.index(f"\n{heading}\n")
    end = re.search(rf"^#{{1,{len(level)}}} ", text[begin + len(heading) + 2 :], re.MULTILINE)
    return text[begin : begin + len(heading) + 2 + end.start()] if end else text[begin:]


def rows(text: str, columns: int) -> list[list[str]]:
    """The cells of the tables with so many columns, without their heads."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == columns and not set("".join(cells)) <= set("-: "):
            found.append(cells)
    return found


def names(cells: Iterable[str]) -> list[str]:
    """Everything that stands as code in these cells."""
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
