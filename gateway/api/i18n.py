"""Texts for people, in their preferred language. Codes are the same in every language; texts are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

from gateway.pages.waiting_page.texts import LANGUAGES

LOCALES: Final = LANGUAGES
"""The languages of messages: those of the page."""
_CHINESE: Final = "zh"
_TRADITIONAL: Final = frozenset({"hant", "tw", "hk", "mo"})
"""Subtags that ask for traditional Chinese."""


def _catalogue(locale: str) -> Mapping[str, str]:
    text = files("gateway.api").joinpath("locales", f"{locale}.json").read_text(encoding="utf-8")
    catalogue: dict[str, str] = json.loads(text)
    return catalogue


_CATALOGUES: Final = {locale: _catalogue(locale) for locale in LOCALES}


def message(locale: str, key: str) -> str:
    """The text of ``key``; one that a catalogue lacks is in English."""
    return _CATALOGUES[locale].get(key) or _CATALOGUES["en"][key]


@lru_cache(maxsize=256)
def choose_locale(accept_language: str, default: str) -> str:
    """The best supported locale for an ``Accept-Language`` header.

    ``*``, an empty or invalid header, or no match give ``default``. Of equal weights the first one named wins; a weight
    of 0 excludes a language.
    """
    best, best_weight = default, 0.0
    for part in accept_language.split(",")[:32]:
        tag, _, parameter = part.partition(";")
        language = default if tag.strip() == "*" else locale_of(tag)
        weight = _weight(parameter)
        if language in LOCALES and weight > best_weight:
            best, best_weight = language, weight
    return best


@lru_cache(maxsize=256)
def weighted_locales(accept_language: str) -> tuple[str, ...]:
    """The locales that an ``Accept-Language`` header names, be there texts for them or not, without those of weight 0.
    The highest weight comes first."""
    found = []
    for part in accept_language.split(",")[:32]:
        tag, _, parameter = part.partition(";")
        if (weight := _weight(parameter)) > 0:
            found.append((weight, locale_of(tag)))
    return tuple(locale for _, locale in sorted(found, key=lambda each: -each[0]))


def locale_of(tag: str) -> str:
    """The locale for a language tag such as ``zh-HK``, which may be none that there is."""
    language, *subtags = tag.strip().lower().split("-")
    if language != _CHINESE:
        return language
    if "hans" in subtags:
        return "zh-Hans"
    return "zh-Hant" if _TRADITIONAL.intersection(subtags) else "zh-Hans"


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
