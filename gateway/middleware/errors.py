"""Errors become answers: those of the gateway's tree an envelope, all others a 500 that says nothing."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import refusal
from gateway.context import CONTEXT
from gateway.errors import GatewayError

log = logging.getLogger(__name__)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with the envelope of an error that was raised further in."""
    try:
        return await handler(request)
    except GatewayError as error:
        return refusal(request[CONTEXT], error)
    except asyncio.CancelledError:
        raise
    except Exception:
        context = request[CONTEXT]
        log.exception("%s %s failed, trace %s", request.method, context.label, context.trace_id)
        return refusal(context, GatewayError())
