"""Turns errors into answers: the gateway's own errors into an envelope, all others into a 500 without details."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.accounting import account
from gateway.api.envelope import refusal
from gateway.context import CONFIGURATION, CONTEXT, OBSERVERS
from gateway.errors import BadRequest, GatewayError, RequestTimeout
from gateway.middleware.access_log import complete, new_context
from gateway.server.framing import HEAD_TOO_LATE
from gateway.server.head import UnreadHead
from gateway.server.listener import Refuse
from gateway.server.whole_response import WholeAnswer

log = logging.getLogger(__name__)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with the envelope of an error raised by a later middleware or the handler."""
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


def refuse_unread(app: web.Application) -> Refuse:
    """Creates the function that answers a request which the server could not read, and counts and logs it."""

    def refuse(head: UnreadHead) -> WholeAnswer:
        observers = app[OBSERVERS]
        context = new_context(head, app[CONFIGURATION], observers)
        error = RequestTimeout if head.fault == HEAD_TOO_LATE else BadRequest
        answer = refusal(context, error(head.fault))
        complete(answer, context)
        account(observers, head.method, context, answer.status, answer.content_length or 0)
        return answer

    return refuse
