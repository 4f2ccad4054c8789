"""What may be set of the page's looks."""

from __future__ import annotations

import pytest

from gateway.pages.waiting_page.theme import (
    DEFAULT_COLOUR,
    MAX_LOGO_BYTES,
    Theme,
    ThemeError,
    check_colour,
    logo_address,
)


def test_the_default_colour_is_legible() -> None:
    check_colour(DEFAULT_COLOUR)


@pytest.mark.parametrize("colour", ["#777", "#ffd400", "#fff"])
def test_a_colour_that_white_is_not_legible_on_is_refused(colour: str) -> None:
    with pytest.raises(ThemeError, match=r"contrast of .* is \d+\.\d\d:1, and WCAG 2.2 asks for 4.5:1"):
        check_colour(colour)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\nx", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x01\x02\x03\x04WEBPVP8 ", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a -->\n<svg>', "image/svg+xml"),
    ],
)
def test_a_logo_becomes_a_data_address(data: bytes, media_type: str) -> None:
    assert logo_address(data).startswith(f"data:{media_type};base64,")


@pytest.mark.parametrize("data", [b"", b"<html><svg>", b"%PDF-1.7", b"<svgx>"])
def test_another_file_is_no_logo(data: bytes) -> None:
    with pytest.raises(ThemeError, match="no SVG, PNG, JPEG, WebP or GIF"):
        logo_address(data)


def test_a_long_logo_is_refused() -> None:
    with pytest.raises(ThemeError, match="longer than 8192 bytes"):
        logo_address(b"GIF89a".ljust(MAX_LOGO_BYTES + 1))


def test_a_text_in_another_language_stands_in() -> None:
    assert Theme(text={"ko": "가", "en": "a"}).text_in("ko") == "가"
    assert Theme(text={"ko": "가", "en": "a"}).text_in("fr") == "a"
    assert Theme(text={"ko": "가"}).text_in("fr") == "가"
    assert Theme().text_in("fr") == ""
