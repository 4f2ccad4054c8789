"""Values as Spring reads them, converted to texts that the gateway's own settings accept. Pure."""

from __future__ import annotations

import re
from typing import Final

from gateway.settings.spring.names import Conversion

_MAX_SECONDS: Final = 315_360_000  # seconds, ten years
_TRUE: Final = frozenset({"true", "on", "yes", "1"})
_FALSE: Final = frozenset({"false", "off", "no", "0"})
_DURATION: Final = re.compile(r"([0-9]{1,12})(ns|us|ms|s|m|h|d)?")
_ISO_DURATION: Final = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9.])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?",
    re.IGNORECASE,
)
_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_LEVELS: Final = {
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "WARN": "WARNING",
    "WARNING": "WARNING",
    "ERROR": "ERROR",
    "FATAL": "ERROR",
    "OFF": "ERROR",
    "FALSE": "ERROR",
}


def seconds_of(text: str) -> float:
    """A length of time as Spring reads it: ``2s``, ``500ms``, ``PT2S``, or a bare number of milliseconds.

    Raises ``ValueError`` for anything else, and for one of more than ten years.
    """
    if found := _DURATION.fullmatch(text.lower()):
        seconds = int(found[1]) * _SECONDS[found[2] or ""]
    elif found := _ISO_DURATION.fullmatch(text):
        units = (86400, 3600, 60, 1)
        seconds = sum(float(count or 0) * unit for count, unit in zip(found.groups(), units, strict=True))
    else:
        raise ValueError(text)
    if seconds > _MAX_SECONDS:
        raise ValueError(text)
    return seconds


def is_true(text: str) -> bool:
    """Whether Spring reads the text as true. Raises ``ValueError`` if Spring reads it as neither true nor false."""
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _duration(text: str) -> str:
    return f"{seconds_of(text):.9f}"


def _milliseconds(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII):
        raise ValueError(text)
    return _duration(text)


def _switch(text: str) -> str:
    return str(is_true(text)).lower()


def _level(text: str) -> str:
    try:
        return _LEVELS[text.upper()]
    except KeyError:
        raise ValueError(text) from None


DURATION: Final = Conversion(
    _duration, "a length of time, such as 2s, 500ms, PT2S, or 500 for milliseconds, that the setting allows"
)
MILLISECONDS: Final = Conversion(_milliseconds, "a whole number of milliseconds that the setting allows")
SWITCH: Final = Conversion(_switch, "true, false, on, off, yes, no, 1 or 0")
LEVEL: Final = Conversion(_level, "TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF")
