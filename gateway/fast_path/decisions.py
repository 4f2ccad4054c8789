"""What the fast path asks of the middlewares' functions before it takes a request: is it plain, and who calls?"""

from __future__ import annotations

from aiohttp import hdrs

from gateway.api.forwarding import forward
from gateway.api.queue import LINEUP, STATE_CALLS, StateCall, room_name, room_runs_here
from gateway.api.service_calls import forward_to_service
from gateway.api.stream import has_ended, stream
from gateway.context import RequestContext
from gateway.fast_path.resources import Resources
from gateway.middleware.authentication import counts_token, identify_visitor
from gateway.middleware.cors import RequestOrigins
from gateway.server.head import RequestHead


def state_call_of(context: RequestContext) -> StateCall | None:
    """The call of the queue that the request is, if it is one that this package serves."""
    return None if context.handler is None else STATE_CALLS.get(context.handler)


def is_plain(resources: Resources, head: RequestHead, context: RequestContext) -> bool:
    """Whether a request that was resolved is for a handler that this package serves."""
    if context.refusal is not None or context.auth != "token":
        return False
    if not room_runs_here(context, resources.rooms):
        # It may have to be looked for, or made.
        return False
    if context.handler is forward:
        match = context.match
        return (
            context.forward is forward_to_service
            and match is not None
            and match.changes.answer is None
            and match.changes.fallback is None
        )
    if context.handler is stream:
        return head.method == hdrs.METH_GET and not has_ended(head.headers)
    call = state_call_of(context)
    if call is LINEUP and context.identity != "token":
        # A visitor's place may have to be moved first, or another service has to be asked about the visitor.
        table = resources.configuration.tables.current.table
        brings_both = context.identity == "either" and hdrs.COOKIE in head.headers
        return not (brings_both or room_name(context) in table.checked_rooms)
    return call is not None


def identify(resources: Resources, call: RequestHead, context: RequestContext) -> None:
    """Who calls: by a token or as a visitor. Raises the errors of the middleware, and MustWait."""
    by_token = counts_token(context)
    if by_token:
        context.principal = resources.authenticator.from_cache(call.headers)
    if by_token and context.principal is None and context.target is not None:
        context.principal = resources.authenticator.identify_at_once(
            context.access or resources.configuration.tables.current.access,
            call.method,
            context.target.path,
            call.headers,
            query=context.target.raw_query,
            gated=context.gate_needs_token,
            identity=context.identity,
            place_is_enough=context.place_is_enough,
            origins=RequestOrigins(call, context),
        )
    if context.identity != "token":
        identify_visitor(call, context, resources.visitors, resources.rooms, resources.observers.metrics)
