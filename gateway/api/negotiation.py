"""Decides whether a request asks for a page or for JSON. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gateway.auth.csrf import Headers

VARY: Final = "Accept, Accept-Language, Authorization, Cookie, Sec-Fetch-Dest, Sec-Fetch-Mode"
"""What an answer depends on that may be a page."""

_HTML: Final = ("text/html", "application/xhtml+xml")
_JSON: Final = "application/json"
_MAX_RANGES: Final = 32
_MAX_PARAMETERS: Final = 8
"""Of a range; a ``q`` behind them does not count."""


def wants_page(headers: Headers) -> bool:
    """Whether a request is a navigation of a browser.

    Browsers say so in ``Sec-Fetch-Mode`` and ``Sec-Fetch-Dest``, which pages can't set. If one of them is sent, only
    they decide: a frame or a script gets JSON. Without them ``Accept`` decides: it must name HTML, and must not prefer
    JSON to it. A wildcard names neither; it prefers JSON only by a higher weight.
    """
    modes, destinations = headers.getall("Sec-Fetch-Mode", ()), headers.getall("Sec-Fetch-Dest", ())
    if modes or destinations:
        return list(modes) in ([], ["navigate"]) and list(destinations) in ([], ["document"])
    accepted = headers.getall("Accept", ())
    return bool(accepted) and prefers_html(",".join(accepted))


@lru_cache(maxsize=256)
def prefers_html(accept: str) -> bool:
    """Whether an ``Accept`` names HTML, with a weight that is not below that of JSON."""
    html = 0.0
    weights: dict[str, float] = {}
    for part in accept.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        media_range, *parameters = part.split(";", _MAX_PARAMETERS + 1)[: _MAX_PARAMETERS + 1]
        name, weight = media_range.strip().lower(), _weight(parameters)
        if name in _HTML:
            html = max(html, weight)
        elif name in (_JSON, "application/*", "*/*"):
            weights[name] = max(weights.get(name, 0.0), weight)
    # The most specific range decides on JSON.
    json = next((weights[name] for name in (_JSON, "application/*", "*/*") if name in weights), 0.0)
    return html > 0 and html >= json


def _weight(parameters: list[str]) -> float:
    """The weight of a media range: 1 without a ``q``, 0 for one that is none."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0.0 <= weight <= 1.0 else 0.0
    return 1.0


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client accepts gzip: it names it, with a weight other than 0."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.strip().removeprefix("q=").strip("0.") != "" or not weight.strip()
    return False
