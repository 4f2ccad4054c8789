"""What an operator sets of the page's looks, and how it is checked."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.pages.waiting_page.colours import LEAST_CONTRAST, WHITE, contrast, parse_colour

DEFAULT_COLOUR: Final = "#1f4fd8"
MAX_LOGO_BYTES: Final = 8 * 1024
MAX_TITLE: Final = 100
MAX_TEXT: Final = 1000

_SVG: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<svg[\s>]", re.DOTALL)
_MEDIA_TYPES: Final = (
    (re.compile(rb"\A\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\A\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\ARIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"\AGIF8[79]a"), "image/gif"),
    (_SVG, "image/svg+xml"),
)


class ThemeError(ValueError):
    """A part of a theme can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The looks of a room's page. ``logo`` is a ``data:`` address or empty. ``text`` is a paragraph of the operator's
    by language. ``template`` is the source of an own template; empty for the page's own."""

    title: str = ""
    logo: str = ""
    colour: str = DEFAULT_COLOUR
    text: Mapping[str, str] = field(default_factory=dict)
    template: str = ""

    def text_in(self, language: str) -> str:
        """The operator's paragraph in a language: else in English, else in the first language there is."""
        return self.text.get(language) or self.text.get("en") or next(iter(self.text.values()), "")


def check_colour(text: str) -> None:
    """Raises ThemeError for what is no colour, or one that white text is not legible on."""
    colour = parse_colour(text)
    if colour is None:
        raise ThemeError(f"{text!r} is no colour as #1f4fd8")
    ratio = contrast(colour, WHITE)
    if ratio < LEAST_CONTRAST:
        raise ThemeError(
            f"the contrast of {text} with white is {ratio:.2f}:1, and WCAG 2.2 asks for {LEAST_CONTRAST}:1: "
            "take a darker colour"
        )


def logo_address(data: bytes) -> str:
    """The image as a ``data:`` address. Raises ThemeError for a file that is too long or no image of a known kind."""
    if len(data) > MAX_LOGO_BYTES:
        raise ThemeError(f"the logo is longer than {MAX_LOGO_BYTES} bytes, and is part of each page")
    for beginning, media_type in _MEDIA_TYPES:
        if beginning.match(data):
            return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    raise ThemeError("the logo is no SVG, PNG, JPEG, WebP or GIF")
