"""The one place that turns an error into its answer: JSON, or the page of the room for a browser that navigates."""

from __future__ import annotations

from gateway.api.envelope import error_response
from gateway.api.negotiation import VARY
from gateway.api.waiting_page import page_for_error
from gateway.context import RequestContext
from gateway.errors import GatewayError
from gateway.server.head import RequestHead
from gateway.server.whole_response import WholeResponse


def refusal_response(request: RequestHead, context: RequestContext, error: GatewayError) -> WholeResponse:
    """The answer to ``error``. Both forms of an answer that may be a page say so in ``Vary``."""
    page = context.page
    if page is None:
        return error_response(context, error)
    if context.as_page and (answer := page_for_error(request, context, page, error)) is not None:
        return answer
    response = error_response(context, error)
    response.headers.add("Vary", VARY)
    return response
