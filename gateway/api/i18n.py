"""Texts for people, in their preferred language. Codes are the same in every language; texts are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

LOCALES: Final = ("ko", "en")


def _catalogue(locale: str) -> Mapping[str, str]:
    text = files("gateway.api").joinpath("locales", f"{locale}.json").read_text(encoding="utf-8")
    catalogue: dict[str, str] = json.loads(text)
    return catalogue


_CATALOGUES: Final = {locale: _catalogue(locale) for locale in LOCALES}


def message(locale: str, key: str) -> str:
    """The text of ``key``; both catalogues have the same keys."""
    return _CATALOGUES[locale][key]


@lru_cache(maxsize=256)
def choose_locale(accept_language: str, default: str) -> str:
    """The best supported locale for an ``Accept-Language`` header.

    ``*``, an empty or invalid header, or no match give ``default``. Of equal weights the first one named wins; a weight
    of 0 excludes a language.
    """
    best, best_weight = default, 0.0
    for part in accept_language.split(",")[:32]:
        tag, _, parameter = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language == "*":
            language = default
        weight = _weight(parameter)
        if language in LOCALES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
