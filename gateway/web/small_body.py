"""Small request bodies: read within a bound, nothing kept."""

from __future__ import annotations

from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway.errors import BadRequest, PayloadTooLarge
from gateway.proxy.body import expects_continue, send_continue

MOST_FORM_BYTES = 16 * 1024
"""A token is at most 8 KiB; what a form holds besides is nobody's business here."""


async def read_small(request: web.BaseRequest, most: int) -> bytes:
    """The whole body, if it has at most ``most`` bytes. Raises PayloadTooLarge, or BadRequest if it is broken."""
    body = bytearray()
    try:
        if expects_continue(request):
            await send_continue(request)
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise PayloadTooLarge(most)
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        raise BadRequest("the body is malformed or incomplete") from error
    return bytes(body)


async def form_values(request: web.BaseRequest, name: str) -> list[str]:
    """All values of the field ``name`` in a form body; none if the body is no form.

    Understands what ``navigator.sendBeacon`` sends for ``URLSearchParams``. Raises PayloadTooLarge or BadRequest.
    """
    if not request.body_exists:
        return []
    body = await read_small(request, MOST_FORM_BYTES)
    if request.content_type != "application/x-www-form-urlencoded":
        return []
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise BadRequest("the form body is malformed") from None
    return [value for key, value in fields if key == name]
