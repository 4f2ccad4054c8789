"""QR codes as images. They are drawn in Python while the event loop waits, so each must be small."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import segno

MAX_BYTES: Final = 200
"""Of the text. Clients choose ``Host``, which is in the address; one of 2,000 letters took half a second."""
MASK: Final = 3
"""The pattern that is laid over each code. The search for the best of the eight takes most of the time of a drawing;
readers read them all."""
SHARE: Final = 0.1
"""Of the processor's time that drawings may take. Each ``Host`` makes another code, and a code costs as much as fifteen
other answers."""
BURST_SECONDS: Final = 1.0
"""Of drawings at a time, after a while without any."""


class NoTime(Exception):
    """Drawings have taken all the time that they may for now."""


class Allowance:
    """The time that drawings may take. ``clock`` returns the seconds that have passed,
    ``spent`` the seconds that the processor has worked for this thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._spent = spent
        self._left = BURST_SECONDS
        self._at = clock()

    def draw(self, text: str) -> str:
        """The image of ``text``. Raises NoTime."""
        now = self._clock()
        self._left = min(BURST_SECONDS, self._left + SHARE * (now - self._at))
        self._at = now
        if self._left <= 0:
            raise NoTime
        began = self._spent()
        code = segno.make_qr(text, error="m", boost_error=False, mask=MASK)
        image: str = code.svg_data_uri(
            scale=4, border=4, light="#fff", dark="#000", xmldecl=False, encode_minimal=False
        )
        self._left -= self._spent() - began
        return image


_allowance: Final = Allowance()
# An exception is not kept, so a code that there was no time for is drawn later.
drawn: Final = lru_cache(maxsize=256)(_allowance.draw)


def qr_address(text: str) -> str:
    """A QR code of ``text`` as a ``data:`` address of an SVG image, black on white with its quiet zone. Empty for a
    text that is longer than ``MAX_BYTES``, and while drawings have taken all the time that they may."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return ""
    try:
        return drawn(text)
    except NoTime:
        return ""
