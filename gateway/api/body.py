"""Small request bodies: read up to a limit, and not kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.errors import BadRequest, PayloadTooLarge
from gateway.proxy.body import expects_continue, send_continue
from gateway.proxy.uploads import Uploads

MAX_FORM_BYTES = 16 * 1024
"""A token is at most 8 KiB. The gateway ignores all other fields of the form."""


async def read_body(request: web.BaseRequest, most: int, uploads: Uploads, client: str) -> bytes:
    """The whole body, which may have at most ``most`` bytes. ``client`` is the client's address. Raises the errors of
    ``pieces_of``."""
    body = bytearray()
    async with aclosing(pieces_of(request, most, uploads, client)) as pieces:
        async for piece in pieces:
            body += piece
    return bytes(body)


async def pieces_of(
    request: web.BaseRequest, most: int, uploads: Uploads, client: str
) -> AsyncGenerator[bytes, None]:
    """The body in pieces as it arrives, at most ``most`` bytes in all. ``client`` is the client's address.

    Raises PayloadTooLarge, BadRequest if the body is broken, RequestTimeout or TooManySlowUploads if it comes too
    slowly.
    """
    upload = uploads.begin(request, client)
    size = 0
    try:
        if expects_continue(request):
            await send_continue(request)
        while not request.content.at_eof():
            piece = await upload.piece()
            size += len(piece)
            if size > most:
                raise PayloadTooLarge(most)
            yield piece
    finally:
        upload.close()


async def form_values(request: web.BaseRequest, name: str, uploads: Uploads, client: str) -> list[str]:
    """All values of the field ``name`` in a form body; none if the body is not a form.

    Understands what ``navigator.sendBeacon`` sends for ``URLSearchParams``. Raises the same errors as ``read_body``.
    """
    if not request.body_exists:
        return []
    body = await read_body(request, MAX_FORM_BYTES, uploads, client)
    if request.content_type != "application/x-www-form-urlencoded":
        return []
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise BadRequest("the form body is malformed") from None
    return [value for key, value in fields if key == name]
