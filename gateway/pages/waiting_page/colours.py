"""Colours and their contrast, by the formulas of WCAG 2.2."""

from __future__ import annotations

import re
from typing import Final

Rgb = tuple[int, int, int]

LEAST_CONTRAST: Final = 4.5
"""What WCAG 2.2 asks of text at level AA."""
WHITE: Final[Rgb] = (255, 255, 255)
DARK_SURFACE: Final[Rgb] = (0x1B, 0x1F, 0x27)
"""What the page's card has for a background in dark mode; ``page.css`` has the same colour."""
_STEPS: Final = 40

_HEX: Final = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


def parse_colour(text: str) -> Rgb | None:
    """A colour as ``#rgb`` or ``#rrggbb``; None for other texts."""
    match = _HEX.fullmatch(text)
    if match is None:
        return None
    digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def hex_of(colour: Rgb) -> str:
    """A colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast of two colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def lightened(colour: Rgb) -> Rgb:
    """The colour, mixed with as little white as makes it legible on ``DARK_SURFACE``."""
    for step in range(_STEPS):
        share = step / _STEPS
        red, green, blue = (round(part + (255 - part) * share) for part in colour)
        if contrast((red, green, blue), DARK_SURFACE) >= LEAST_CONTRAST:
            return red, green, blue
    return WHITE


def _luminance(colour: Rgb) -> float:
    red, green, blue = (_linear(part / 255) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
