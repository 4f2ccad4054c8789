"""Authentication: identifies the caller by a token. A token is checked once, and the result is cached."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.body import form_values
from gateway.auth.access import LEAVE_CALL, Authenticator
from gateway.auth.operators import Operator
from gateway.context import (
    AUTHENTICATOR,
    CONFIGURATION,
    CONTEXT,
    OPERATOR,
    OPERATORS,
    UPLOADS,
    RequestContext,
)
from gateway.errors import RoleNotAllowed
from gateway.middleware.cors import RequestOrigins

_READS = frozenset({"GET", "HEAD"})


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Identifies the caller. Raises an AuthError if the caller must have a token and has no valid one.

    An answer that was decided earlier, such as 404, is given only after this check. So a caller without a token can't
    find out which paths exist.
    """
    context = request[CONTEXT]
    if context.auth == "token":
        authenticator = request.app[AUTHENTICATOR]
        context.principal = authenticator.from_cache(request.headers)
        if context.principal is None or request.method == "POST":
            await _identify(request, context, authenticator)
    elif context.auth == "management":
        request[OPERATOR] = _operator(request, context)
    if context.refusal is not None:
        raise context.refusal
    return await handler(request)


async def _identify(request: web.Request, context: RequestContext, authenticator: Authenticator) -> None:
    target = context.target
    assert target is not None  # noqa: S101 - resolved before
    access = context.access or request.app[CONFIGURATION].tables.current.access
    form: list[str] = []
    if (request.method, target.path) == LEAVE_CALL:
        # Even if the token is known, because the next request on the connection comes after the body.
        form = await form_values(request, "access_token", request.app[UPLOADS], context.client)
    if context.principal is not None:
        return
    context.principal = await authenticator.identify(
        access,
        request.method,
        target.path,
        request.headers,
        query=target.raw_query,
        form=form,
        gated=context.room is not None and not context.renews_only,
        origins=RequestOrigins(request, context),
    )


def _operator(request: web.Request, context: RequestContext) -> Operator:
    """The operator who calls. Raises RoleNotAllowed for a change by an operator who may only look, and the errors of
    ``Operators.identify``."""
    given = request.headers.getall("Authorization", ())
    operator = request.app[OPERATORS].identify(given, context.client)
    if operator.role != "act" and request.method not in _READS:
        raise RoleNotAllowed
    return operator
