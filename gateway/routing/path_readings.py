"""The readings of a path: the other paths that a lenient service may take it for.

A service may ignore case, compatibility forms, the script of a digit, blanks, invisible characters, ``;`` parameters,
a slash at the end, the part behind an encoded ``?`` or ``#``, a session in the path, the part behind a script,
``index`` and the part behind it, or what makes a page's path that of its data. A reading is the path without these. A
format suffix (``.json``) or a dot at the end is not removed here. ``WideSegment`` ignores it instead, because only the
rule knows which dots belong to its own path (see ``wide_patterns``).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

Reading = tuple[str, ...]
"""The segments of a path."""

# Characters that are displayed as nothing or as a blank, although Unicode counts them as letters, marks or symbols.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_MAX_CACHED_CHARACTERS: Final = 4096
_PLAIN = re.compile(r"[A-Za-z0-9/._~:@!$&'()*,=-]*")
_DOTTED_I: Final = re.compile("i\u0307++")
# ASP.NET takes it out of every path, wherever it is: /(S(x))/sale is /sale.
_SESSION: Final = re.compile(r"/\((?:[A-Za-z]\([^()/?#]*+\))++\)")
# A server runs a script for the paths behind its name too: PHP, CGI, IIS, ColdFusion. Group 2: the script may be one
# that serves all paths of a service.
_SCRIPT: Final = re.compile(
    r"(/[^/]+\.(?:(php[0-9]*|phtml|f?cgi|pl|py|rb)|phar|aspx?|ashx|asmx|svc|jspx?|cfm|cfc|dll|exe)\.*)(?:/|\Z)"
)
# The page of a folder, or an MVC framework's default action.
_INDEX: Final = re.compile(r"/(?:index(?:\.[^/]*)?|default\.[^/]+)(?:/|\Z)")
# JavaScript frameworks serve the data of a page below its path, and run the page's code for it: SvelteKit, Qwik (its
# actions too), Nuxt, React Router. Next.js and Gatsby name the page within another path.
_DATA_OF_PAGE: Final = frozenset(
    {"__data.json", "q-data.json", "_payload.json", "_payload.js", "_.data", "_root.data"}
)
_NEXT_DATA: Final = re.compile(r"/_next/data/[^/]+(?=/)")
_GATSBY_DATA: Final = "/page-data/"
# Next.js serves each part of a page on its own: /sale.segments/_tree.segment.rsc.
_NEXT_SEGMENTS: Final = ".segments/"
_NEXT_SEGMENT: Final = ".segment.rsc"


class _InvisibleTable(dict[int, int | None]):
    """A table for ``str.translate`` that computes its entries on demand. Its size is bounded."""

    def __missing__(self, point: int) -> int | None:
        if len(self) >= _MAX_CACHED_CHARACTERS:
            self.clear()
        self[point] = None if _is_invisible(point) else _as_digit(point)
        return self[point]


def _as_digit(point: int) -> int:
    """The digit from 0 to 9 for a digit of any script, because many programming languages read those as numbers."""
    value = unicodedata.decimal(chr(point), None)
    return point if value is None else ord("0") + value


def _is_invisible(point: int) -> bool:
    character = chr(point)
    return (
        character in _INVISIBLE
        or unicodedata.category(character) in _INVISIBLE_CATEGORIES
        # Variation selectors are marks that only change how a character is displayed.
        or 0xFE00 <= point <= 0xFE0F
        or 0xE0000 <= point <= 0xE0FFF
        or 0x180B <= point <= 0x180F
    )


_INVISIBLE_TABLE: Final = _InvisibleTable()


def fold(text: str) -> str:
    """The form of a text in which differences in case and compatibility forms disappear."""
    if text.isascii():
        return text.lower()
    # Upper case first, because some letters (dotless i, long s) equal their plain form only in upper case.
    folded = unicodedata.normalize("NFKC", text).upper().casefold()
    # The only letter left (U+0130): to Java and to Python's ``re`` it is an i, in full case folding an i with a dot.
    return _DOTTED_I.sub("i", folded)


def strip_ignored(text: str) -> str:
    """``strip_invisible`` of a text, also without ``+``, which is a blank in forms."""
    return text if is_plain(text) else strip_invisible(text).replace("+", "")


def strip_invisible(text: str) -> str:
    """A text without blanks and invisible characters. Digits of other scripts become 0 to 9."""
    return text.translate(_INVISIBLE_TABLE)


def is_plain(path: str) -> bool:
    """Whether a path holds nothing that a service may ignore, except case, slashes and dots."""
    return _PLAIN.fullmatch(path) is not None


def readings_of(path: str) -> tuple[Reading, ...]:
    """All readings of a canonical path, folded: the path itself, bare, without a session, cut at a ``?`` or ``#``, and
    cut at a script or an index."""
    folded = fold(path)
    found = [_segments(folded)]
    bare = without_session(folded)
    if bare is not folded:
        found.append(_segments(bare))
    if is_plain(bare):
        found += map(_segments, _shorter(bare))
    else:
        for form in _cut_at_query(bare):
            # Two readings, because a segment of blanks is no segment to one service and a variable's value to another.
            # Folded again, because a letter and an accent may have become adjacent.
            again = fold(strip_all_ignored(form.rstrip("/")))
            found += (tuple(again.split("/")[1:]), _segments(again), *map(_segments, _shorter(again)))
    # A suffix may follow a slash: /sale/.json.
    found += [_without_suffixes(reading) for reading in found if reading and reading[-1].startswith(".")]
    return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)


def without_session(path: str) -> str:
    """The path without ASP.NET's sessions in it; the same object if it has none."""
    if "/(" not in path or _SESSION.search(path) is None:
        return path
    return "/" + _SESSION.sub("", path).lstrip("/")


def _shorter(path: str) -> list[str]:
    """The folded paths that a service may take this one for because of the data, the first script or the first index in
    it: the page whose data it is, up to the script, without it, and up to the index."""
    page = _page_of_data(path)
    # Those that are a whole path, and may end with an index.
    whole = [path] if page is None else [path, page]
    found = []
    if "." in path and (script := _SCRIPT.search(path)) is not None:
        found = [path[: script.end(1)]]
        if script[2] is not None:
            whole.append(path[: script.start()] + path[script.end(1) :])
    found += whole[1:]
    if "/index" in path or "/default." in path:
        found += [each[: index.start()] for each in whole if (index := _INDEX.search(each))]
    return found


def _page_of_data(path: str) -> str | None:
    """The folded path of the page whose data a service may serve at this one; None if there is no such page."""
    if _NEXT_SEGMENTS in path and path.rstrip("/.").endswith(_NEXT_SEGMENT):
        return path[: path.rindex(_NEXT_SEGMENTS)]
    if "data" not in path and "/_payload." not in path:
        return None
    page, _, name = path.rstrip("/").rpartition("/")
    if name in _DATA_OF_PAGE:
        return page
    if name == "page-data.json":
        at = page.find(_GATSBY_DATA)
        return None if at < 0 else page[:at] + page[at + len(_GATSBY_DATA) - 1 :]
    found = _NEXT_DATA.search(path)
    return None if found is None else path[: found.start()] + path[found.end() :]


def is_index(segment: str) -> bool:
    """Whether a folded segment at the end of a path may be missing: ``index``, ``index.php``, ``default.aspx``."""
    return _INDEX.fullmatch(f"/{segment}") is not None


def is_front_script(segment: str) -> bool:
    """Whether a folded segment in front of a path may be missing: ``index.php`` and the like."""
    script = _SCRIPT.fullmatch(f"/{segment}")
    return script is not None and script[2] is not None and is_index(segment)


def _without_suffixes(reading: Reading) -> Reading:
    count = len(reading)
    while count and reading[count - 1].startswith("."):
        count -= 1
    return reading[:count]


def case_sensitive_readings(path: str) -> tuple[str, ...]:
    """The readings of a canonical path with its case kept, except those that a script or an index makes; none for a
    plain path without a session."""
    bare = without_session(path)
    if is_plain(bare):
        return () if bare is path else (bare,)
    return tuple(
        map(strip_all_ignored, (*_cut_at_query(normalize(bare)), *(() if bare is path else (path,))))
    )


def normalize(text: str) -> str:
    """A text with compatibility forms replaced by their plain forms."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _cut_at_query(path: str) -> tuple[str, ...]:
    """The path, and the path up to the first or last ``?`` or ``#``, where some services end it. The two characters are
    handled separately: to a service that ends the path at one, the other is an ordinary character."""
    ends = (end for sign in "?#" for end in (path.find(sign), path.rfind(sign)) if end >= 0)
    return tuple(dict.fromkeys((path, *(path[:end] for end in ends))))


def strip_all_ignored(path: str) -> str:
    """A path without what services may ignore: blanks, invisible characters, ``;`` parameters."""
    stripped = strip_ignored(path)
    if ";" not in stripped:
        return stripped
    return "/".join(segment.partition(";")[0] for segment in stripped.split("/"))


def _segments(path: str) -> Reading:
    return tuple(segment for segment in path.split("/") if segment)


def is_or_has_suffix(value: str, literal: str) -> bool:
    """Whether a segment is ``literal``, or ``literal`` followed by a format suffix or dots."""
    return value.startswith(literal) and (len(value) == len(literal) or value[len(literal)] == ".")
