"""Selects the form and version of metrics from the request's ``Accept``. Pure.

Only the content type differs: both versions of each form contain the same lines, and all names here are plain, so
escaping changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_OPENMETRICS: Final = "application/openmetrics-text"
_TEXT: Final = "text/plain"
_VERSIONS: Final = {_OPENMETRICS: ("1.0.0", "0.0.1"), _TEXT: ("0.0.4", "1.0.0")}
"""Versions by media type; the first is used if the client names none."""

_ESCAPINGS: Final = frozenset({"allow-utf-8", "underscores", "values"})
_WITH_ESCAPING: Final = "1.0.0"
_MAX_LIST_LENGTH: Final = 50
_MAX_PARAMETERS: Final = 8


class ExpositionFormat(NamedTuple):
    """``media_type`` without parameters, and the whole ``content_type`` of the answer."""

    media_type: str
    content_type: str


def negotiate_format(accept: str) -> ExpositionFormat:
    """The available form with the highest quality in ``Accept``, in the version that it names.

    Text 0.0.4, which every scraper reads, is the answer in all other cases: no header, ``*/*``, unknown versions.
    """
    best, weight = ExpositionFormat(_TEXT, f"{_TEXT}; version=0.0.4; charset=utf-8"), 0.0
    for media_type, quality, parameters in accepted(accept):
        versions = _VERSIONS.get(media_type)
        if versions is None or quality <= weight:
            continue
        version = parameters.get("version", versions[0])
        if version in versions:
            best, weight = _form(media_type, version, parameters.get("escaping", "")), quality
    return best


def accepted(accept: str) -> Iterator[tuple[str, float, Mapping[str, str]]]:
    """The media types of an ``Accept`` in lower case and in its order. Each comes with its quality (0 if it is not a
    number) and its first parameters."""
    for item in accept.split(",")[:_MAX_LIST_LENGTH]:
        parts = item.split(";", _MAX_PARAMETERS + 1)[: _MAX_PARAMETERS + 1]
        media_type, *rest = (part.strip() for part in parts)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in map(_split, rest)}
        yield media_type.lower(), _quality(parameters.get("q", "1")), parameters


def _split(part: str) -> tuple[str, str, str]:
    return part.partition("=")


def _form(media_type: str, version: str, escaping: str) -> ExpositionFormat:
    content_type = f"{media_type}; version={version}; charset=utf-8"
    if escaping and version == _WITH_ESCAPING:
        content_type += f"; escaping={escaping if escaping in _ESCAPINGS else 'underscores'}"
    return ExpositionFormat(media_type, content_type)


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
