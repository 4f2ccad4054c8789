"""Contrast, by WCAG's own examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages.waiting_page.colours import (
    DARK_SURFACE,
    LEAST_CONTRAST,
    WHITE,
    contrast,
    hex_of,
    lightened,
    parse_colour,
)

RGB = st.tuples(*3 * [st.integers(0, 255)])


@pytest.mark.parametrize(
    ("text", "colour"),
    [("#fff", (255, 255, 255)), ("#1F4fd8", (31, 79, 216)), ("red", None), ("#12", None), ("#12345g", None)],
)
def test_colours_are_read(text: str, colour: tuple[int, int, int] | None) -> None:
    assert parse_colour(text) == colour


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), WHITE) == pytest.approx(21)
    assert contrast(WHITE, WHITE) == 1
    assert contrast((0x77, 0x77, 0x77), WHITE) == pytest.approx(4.48, abs=0.01)
    assert contrast((0x76, 0x76, 0x76), WHITE) == pytest.approx(4.54, abs=0.01)


@given(RGB)
def test_a_lightened_colour_is_legible_in_dark_mode(colour: tuple[int, int, int]) -> None:
    assert contrast(lightened(colour), DARK_SURFACE) >= LEAST_CONTRAST


@given(RGB)
def test_a_colour_is_what_it_is_written_as(colour: tuple[int, int, int]) -> None:
    assert parse_colour(hex_of(colour)) == colour
