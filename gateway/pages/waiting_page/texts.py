"""The texts of the page in each language, and numbers, moments and lengths of time in words.

A text is one string with ``{name}`` for what is filled in, or one such string for each plural category. The script of
the page chooses the category by ``Intl.PluralRules``, this module by ``plural_category``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("ko", "en", "ja", "zh-Hans", "zh-Hant", "es", "fr", "de", "ar")
"""In the order of the menu."""
RIGHT_TO_LEFT: Final = frozenset({"ar"})

Plurals = Mapping[str, str]
Text = str | Plurals

FOR_SCRIPT: Final = (
    "wait.soon",
    "wait.minutes",
    "wait.minutes.range",
    "wait.hours",
    "wait.hours.range",
    "wait.unknown",
    "wait.paused",
    "next.waiting",
    "next.first",
    "next.registered",
    "title.waiting",
    "title.turn",
    "turn.title",
    "turn.left",
    "live.position",
    "live.turn",
    "live.offline",
    "live.online",
    "lane.default",
    "reason.RETURNED",
    "reason.OPERATOR",
    "leave.ask",
    "button.pause",
    "pause.off",
    "notify.body",
)
"""The texts that the script puts together."""

_HOURS_FROM_MINUTES: Final = 90
"""From so many minutes on, a wait is told in hours."""


class Texts:
    """The texts of one language."""

    def __init__(self, language: str, texts: Mapping[str, Text]) -> None:
        self.language = language
        self.texts = texts

    def __getitem__(self, key: str) -> str:
        """A text without plurals. Raises KeyError for another one."""
        text = self.texts[key]
        if not isinstance(text, str):
            raise KeyError(key)
        return text

    def counted(self, key: str, number: int, **values: object) -> str:
        """The text ``key`` in the plural category of ``number``, filled in."""
        text = self.texts[key]
        if not isinstance(text, str):
            text = text.get(plural_category(self.language, number)) or text["other"]
        return text.format(**values)

    def for_script(self) -> str:
        """What the script needs, as compact JSON."""
        chosen = {key: self.texts[key] for key in FOR_SCRIPT}
        return json.dumps(chosen, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=len(LANGUAGES))
def texts_of(language: str) -> Texts:
    """The texts of one of ``LANGUAGES``."""
    file = files("gateway.pages.waiting_page").joinpath("locales", f"{language}.json")
    return Texts(language, json.loads(file.read_text(encoding="utf-8")))


def direction(language: str) -> str:
    """``rtl`` or ``ltr``."""
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"


def intl_tag(language: str) -> str:
    """The language for ``Intl``: with the digits that ``number`` writes."""
    return f"{language}-u-nu-latn" if language == "ar" else language


def number(language: str, value: int) -> str:
    """A whole number as ``Intl.NumberFormat`` writes it in this language."""
    if language == "es" and abs(value) < 10_000:
        return str(value)
    return f"{value:,}".replace(",", _GROUPING.get(language, ","))


_GROUPING: Final = {"de": ".", "es": ".", "fr": "\u202f"}


_LAST_SECOND: Final = 253_402_300_799
"""That of the year 9999, which dates of Python end with."""


def moment(milliseconds: int) -> tuple[str, str]:
    """A moment in epoch milliseconds: in ISO 8601, and in words for browsers without a script, which alone could tell
    it in the person's own time zone. One after the year 9999 is the last second of that year."""
    at = datetime.fromtimestamp(min(milliseconds // 1000, _LAST_SECOND), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M UTC")


@lru_cache(maxsize=4096)
def wait_in_words(language: str, low: int, high: int) -> str:
    """A wait between ``low`` and ``high`` seconds. The script has the same rules."""
    texts = texts_of(language)
    if high < 60:
        return texts["wait.soon"]
    unit, seconds = ("hours", 3600) if high > _HOURS_FROM_MINUTES * 60 else ("minutes", 60)
    least, most = max(1, low // seconds), math.ceil(high / seconds)
    if least >= most:
        return texts.counted(f"wait.{unit}", most, count=number(language, most))
    return texts.counted(f"wait.{unit}.range", most, low=number(language, least), high=number(language, most))


def wait_of(language: str, between: Sequence[int] | None, *, paused: bool) -> str:
    """The estimated wait in words; ``between`` in seconds, None without an estimate."""
    if paused:
        return texts_of(language)["wait.paused"]
    if between is None:
        return texts_of(language)["wait.unknown"]
    return wait_in_words(language, between[0], between[1])


def plural_category(language: str, count: int) -> str:
    """The category of a whole number below a million, by the rules of Unicode's CLDR."""
    return _CATEGORIES.get(language, _always_other)(count)


def _always_other(count: int) -> str:
    return "other"


def _one_or_other(count: int) -> str:
    return "one" if count == 1 else "other"


def _french(count: int) -> str:
    return "one" if count in (0, 1) else "other"


def _arabic(count: int) -> str:
    if count in (0, 1, 2):
        return ("zero", "one", "two")[count]
    rest = count % 100
    return "few" if 3 <= rest <= 10 else "many" if rest >= 11 else "other"


_CATEGORIES: Final[Mapping[str, Callable[[int], str]]] = {
    "en": _one_or_other,
    "de": _one_or_other,
    "es": _one_or_other,
    "fr": _french,
    "ar": _arabic,
}
