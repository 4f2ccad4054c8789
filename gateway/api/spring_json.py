"""JSON as Spring's tools read it, under the media type that a client accepts. Without the envelope."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from gateway.api.envelope import encode
from gateway.observability.exposition import accepted

MEDIA_TYPE: Final = "application/vnd.spring-boot.actuator.v3+json"
JSON: Final = "application/json"
_WILD: Final = ("*/*", "application/*", "application/*+json")


def plain(content: Any, status: int = 200, media_type: str = JSON) -> web.Response:
    """JSON under the given media type."""
    return web.Response(
        body=encode(content), status=status, content_type=media_type, headers={"Cache-Control": "no-store"}
    )


def spring_json(request: web.BaseRequest, content: Any, status: int = 200) -> web.Response:
    """JSON under Spring's media type, or as ``application/json`` if the client asks for that."""
    return plain(content, status, media_type_of(request))


def media_type_of(request: web.BaseRequest) -> str:
    """The media type for a client of Spring Boot's actuator."""
    values = request.headers.getall("Accept", ())
    return media_type_for(",".join(values)) if values else MEDIA_TYPE


def media_type_for(accept: str) -> str:
    """The one of the two media types that ``Accept`` names with the higher quality; of equals, the one named first.

    Spring's own is used in all other cases: no header, and wildcards that weigh more than ``application/json``.
    """
    qualities: dict[str, float] = {}
    for media_type, quality, _ in accepted(accept):
        qualities.setdefault(media_type, quality)
    plain_json = qualities.get(JSON, 0.0)
    if plain_json < max(qualities.get(name, 0.0) for name in _WILD) or not plain_json:
        return MEDIA_TYPE
    # The first one named is also the first in the dictionary.
    return max((name for name in qualities if name in (JSON, MEDIA_TYPE)), key=qualities.__getitem__)
