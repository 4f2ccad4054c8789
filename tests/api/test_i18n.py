"""Texts and the choice of their language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gateway
from gateway import errors
from gateway.api.envelope import STATUS_OF
from gateway.api.i18n import LOCALES, choose_locale, message


def test_both_catalogues_have_a_text_for_everything_that_is_said() -> None:
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


def test_every_error_that_can_reach_a_client_has_a_status() -> None:
    inner = {errors.GatewayError, errors.SettingsError, errors.RequestRefused, errors.AuthError}
    inner |= {errors.QueueError, errors.UpstreamError, errors.ConfigError}
    inner |= {errors.ConfigUnusable}  # a refresh says no more than that it is unavailable
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
        ("fr", "ko"),
        ("*", "ko"),
        ("fr, en;q=0.1", "en"),
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
