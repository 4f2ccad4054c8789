"""The page's texts: every language has all of them, and words for numbers follow its rules."""

from __future__ import annotations

import re

import pytest

from gateway.pages.waiting_page.states import PageState
from gateway.pages.waiting_page.texts import (
    FOR_SCRIPT,
    LANGUAGES,
    direction,
    intl_tag,
    moment,
    number,
    plural_category,
    texts_of,
    wait_in_words,
    wait_of,
)

CATEGORIES = {
    "en": {"one", "other"},
    "de": {"one", "other"},
    "es": {"one", "other"},
    "fr": {"one", "other"},
    "ar": {"zero", "one", "two", "few", "many", "other"},
}
MAY_BE_THE_SAME = {"name", "title.waiting", "label.code"}


def fields(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_texts_with_the_same_fields(language: str) -> None:
    english, own = texts_of("en").texts, texts_of(language).texts
    assert list(own) == list(english)
    for key, text in own.items():
        wanted = english[key]
        if isinstance(wanted, str):
            assert isinstance(text, str), key
            assert fields(text) == fields(wanted), key
            assert text.strip() == text != ""
            assert language == "en" or key in MAY_BE_THE_SAME or text != wanted, key
        else:
            assert not isinstance(text, str), key
            assert set(text) == CATEGORIES.get(language, {"other"}), key
            assert fields(text["other"]) == fields(wanted["other"]), key
            assert all(fields(each) <= fields(wanted["other"]) for each in text.values())


def test_every_state_has_a_title() -> None:
    for state in PageState:
        assert texts_of("en")[f"{state}.title"]


def test_the_script_gets_texts_that_are_there() -> None:
    assert set(FOR_SCRIPT) <= set(texts_of("en").texts)


@pytest.mark.parametrize(
    ("language", "low", "high", "words"),
    [
        ("en", 5, 50, "less than a minute"),
        ("en", 40, 60, "about 1 minute"),
        ("en", 70, 80, "1 to 2 minutes"),
        ("en", 540, 900, "9 to 15 minutes"),
        ("en", 3600, 5400, "60 to 90 minutes"),
        ("en", 3600, 5401, "1 to 2 hours"),
        ("en", 7200, 7200, "about 2 hours"),
        ("en", 1, 6000, "1 to 2 hours"),
        ("de", 60, 60, "etwa 1 Minute"),
        ("fr", 61, 180, "1 à 3 minutes"),
        ("ko", 540, 900, "9~15분"),
        ("ar", 60, 60, "نحو دقيقة واحدة"),
        ("ar", 180, 300, "من 3 إلى 5 دقائق"),
        ("ar", 540, 900, "من 9 إلى 15 دقيقة"),
        ("de", 3_600_000, 36_000_000, "1.000 bis 10.000 Stunden"),
    ],
)
def test_a_wait_in_words(language: str, low: int, high: int, words: str) -> None:
    assert wait_in_words(language, low, high) == words


def test_a_wait_that_is_not_known() -> None:
    assert wait_of("en", None, paused=False) == "not known yet"
    assert wait_of("en", None, paused=True) == "paused for the moment"
    assert wait_of("en", (540, 900), paused=False) == "9 to 15 minutes"


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", "12,345"),
        ("ko", "12,345"),
        ("ja", "12,345"),
        ("zh-Hant", "12,345"),
        ("de", "12.345"),
        ("es", "12.345"),
        ("fr", "12\u202f345"),
        ("ar", "12,345"),
    ],
)
def test_numbers_are_grouped(language: str, written: str) -> None:
    assert number(language, 12_345) == written


def test_spanish_does_not_group_four_digits() -> None:
    assert (number("es", 9_999), number("de", 9_999)) == ("9999", "9.999")


@pytest.mark.parametrize(
    ("count", "category"),
    [
        *((0, "zero"), (1, "one"), (2, "two"), (3, "few"), (10, "few"), (11, "many"), (99, "many")),
        *((100, "other"), (102, "other"), (103, "few"), (111, "many")),
    ],
)
def test_arabic_has_six_categories(count: int, category: str) -> None:
    assert plural_category("ar", count) == category


def test_french_counts_zero_as_one() -> None:
    assert [plural_category("fr", count) for count in (0, 1, 2)] == ["one", "one", "other"]


def test_the_direction_and_the_digits_of_a_language() -> None:
    assert (direction("ar"), direction("ko")) == ("rtl", "ltr")
    assert (intl_tag("ar"), intl_tag("zh-Hant")) == ("ar-u-nu-latn", "zh-Hant")


def test_a_moment_is_told_in_utc() -> None:
    assert moment(1_764_586_800_000) == ("2025-12-01T11:00:00Z", "2025-12-01 11:00 UTC")


def test_a_moment_after_the_last_date_is_the_last_one() -> None:
    last = ("9999-12-31T23:59:59Z", "9999-12-31 23:59 UTC")
    assert [moment(at) for at in (253_402_300_799_999, 253_402_300_800_000, 2**53)] == [last] * 3
