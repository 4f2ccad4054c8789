"""Texts and the choice of their language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import gateway
from gateway import errors
from gateway.api.envelope import STATUS_OF
from gateway.api.i18n import LOCALES, choose_locale, message
from gateway.settings.types import LOCALES as SETTING_LOCALES


def test_all_catalogues_have_a_text_for_everything_that_is_said() -> None:
    source = "".join(path.read_text() for path in Path(gateway.__file__).parent.rglob("*.py"))
    keys = set(re.findall(r'"((?:lineup|status|left|room|removed)\.\w+)"', source))
    keys |= {f"error.{error.code}" for error in STATUS_OF} | {
        "error.INTERNAL_ERROR",
        "error.TOO_MANY_STREAMS",
    }
    keys |= {f"removed.{reason}" for reason in ("LEFT", "ABSENT", "OPERATOR")}
    assert len(keys) > 30
    for locale in LOCALES:
        for key in keys:
            assert message(locale, key), (locale, key)


def test_all_catalogues_have_the_same_keys_in_the_same_order() -> None:
    catalogues = {
        locale: json.loads(
            (Path(gateway.__file__).parent / "api/locales" / f"{locale}.json").read_text("utf-8")
        )
        for locale in LOCALES
    }
    for locale, texts in catalogues.items():
        assert list(texts) == list(catalogues["en"]), locale
        assert all(text.strip() == text != "" for text in texts.values()), locale


def test_the_settings_know_the_same_languages() -> None:
    assert SETTING_LOCALES == LOCALES


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("zh", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh-SG", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-HK", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh-Hans-HK", "zh-Hans"),
        ("ja-JP", "ja"),
        ("pt-BR, es;q=0.8", "es"),
        ("ar-EG", "ar"),
        ("de-CH", "de"),
        ("fr-CA", "fr"),
    ],
)
def test_languages_are_found_by_their_tags(header: str, chosen: str) -> None:
    assert choose_locale(header, "en") == chosen


def test_every_error_that_can_reach_a_client_has_a_status() -> None:
    inner = {errors.GatewayError, errors.SettingsError, errors.RequestRefused, errors.AuthError}
    inner |= {errors.QueueError, errors.UpstreamError, errors.ConfigError}
    inner |= {errors.ConfigUnusable}  # a refresh says no more than that it is unavailable
    inner |= {errors.NoSuchRoom}  # its answer is that of QueueUnavailable
    inner |= {errors.NewerSchema}  # only at the start; later it is the reason of a QueueUnavailable
    named = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.GatewayError) and value not in inner
    }
    assert named <= set(STATUS_OF)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("en", "en"),
        ("EN-us", "en"),
        ("ko", "ko"),
        ("fi", "ko"),
        ("*", "ko"),
        ("fi, en;q=0.1", "en"),
        ("en;q=0.5, ko;q=0.6", "ko"),
        ("en, ko", "en"),
        ("ko;q=0, en;q=0.1", "en"),
        ("en;q=0", "ko"),
        ("en;q=nonsense", "ko"),
        ("en;q=nan", "ko"),
        (";;;,,,=", "ko"),
        ("en;q=2", "ko"),
        ("x," * 100 + "en", "ko"),
    ],
)
def test_the_language_is_chosen_by_weight(header: str, chosen: str) -> None:
    assert choose_locale(header, "ko") == chosen
