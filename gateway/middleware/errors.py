"""Turns errors into answers: the gateway's own errors into an envelope, all others into a 500 without details."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import error_response
from gateway.api.refusals import refusal_response
from gateway.context import CONFIGURATION, CONTEXT, OBSERVERS
from gateway.errors import BadRequest, GatewayError, RequestTimeout
from gateway.middleware.access_log import add_common_headers, new_context
from gateway.request_accounting import account
from gateway.server.framing import HEAD_TOO_LATE
from gateway.server.head import UnreadableHead
from gateway.server.listener import RefuseUnreadable
from gateway.server.whole_response import WholeResponse

log = logging.getLogger(__name__)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with the envelope of an error raised by a later middleware or the handler."""
    try:
        return await handler(request)
    except GatewayError as error:
        return refusal_response(request, request[CONTEXT], error)
    except asyncio.CancelledError:
        raise
    except Exception:
        context = request[CONTEXT]
        log.exception("%s %s failed, trace %s", request.method, context.label, context.trace_id)
        return refusal_response(request, context, GatewayError())


def refuse_unreadable(app: web.Application) -> RefuseUnreadable:
    """Creates the function that answers a request which the server could not read, and counts and logs it."""

    def refuse(head: UnreadableHead) -> WholeResponse:
        observers = app[OBSERVERS]
        context = new_context(head, app[CONFIGURATION], observers)
        error = RequestTimeout if head.fault == HEAD_TOO_LATE else BadRequest
        response = error_response(context, error(head.fault))
        add_common_headers(response, context)
        account(observers, head.method, context, response.status, response.content_length or 0)
        return response

    return refuse
