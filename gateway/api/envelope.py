"""The one JSON envelope, and the one place where errors become answers."""

from __future__ import annotations

import json
import math
import time
from functools import lru_cache
from typing import Any, Final

from gateway import errors
from gateway.api.i18n import message
from gateway.api.notices import notice_json
from gateway.api.status import state_json
from gateway.context import RequestContext
from gateway.errors import GatewayError
from gateway.observability.logging import timestamp
from gateway.server.whole_response import EventsResponse, JsonResponse, WholeResponse
from gateway.sse.frames import retry_later
from gateway.waiting_room.notices import Notice
from gateway.waiting_room.state import State

STATUS_OF: Final[dict[type[GatewayError], int]] = {
    errors.BadRequest: 400,
    errors.TokenRequired: 401,
    errors.TokenExpired: 401,
    errors.TokenInvalid: 401,
    errors.CookieRequired: 401,
    errors.SessionRequired: 401,
    errors.CorsRejected: 403,
    errors.ProxyNotTrusted: 403,
    errors.CsrfRejected: 403,
    errors.HostNotAllowed: 403,
    errors.RateLimitKeyMissing: 403,
    errors.RoleNotAllowed: 403,
    errors.NotEligible: 403,
    errors.PrefetchRefused: 403,
    errors.ChallengeRequired: 403,
    errors.TransferNotAllowed: 403,
    errors.TransferCodeInvalid: 404,
    errors.RouteNotFound: 404,
    errors.RoomNotFound: 404,
    errors.NotInQueue: 404,
    errors.NotAllowedIn: 404,
    errors.NoDraw: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.BeaconTooEarly: 409,
    errors.BeaconKnown: 409,
    errors.SoldOut: 410,
    errors.PayloadTooLarge: 413,
    errors.ConfigRefused: 422,
    errors.QueueWaiting: 429,
    errors.TooManySlowUploads: 429,
    errors.TooManyPlaces: 429,
    errors.TooManyWrongCodes: 429,
    errors.RateLimited: 429,
    errors.TooManyWrongTokens: 429,
    errors.TooManyLineups: 429,
    errors.QueueFailed: 500,
    errors.UpstreamUnreachable: 502,
    errors.ServiceFailed: 502,
    errors.AuthUnavailable: 503,
    errors.QueueUnavailable: 503,
    errors.QueueStorageFull: 503,
    errors.RoomClosed: 503,
    errors.RoomFull: 503,
    errors.TooManyRooms: 503,
    errors.ConfigUnavailable: 503,
    errors.NotConfigured: 503,
    errors.Overloaded: 503,
    errors.TooManyViewers: 503,
    errors.NoInstance: 503,
    errors.CircuitOpen: 503,
    errors.UpstreamBusy: 503,
    errors.UpstreamTimeout: 504,
    errors.LoopDetected: 508,
}
"""HTTP status of each error that a client may see. At the gate, NotInQueue is 403: see ``NotInQueueAtGate``."""


class NotInQueueAtGate(errors.NotInQueue):
    """At the gate: the caller is neither waiting nor allowed in, so this call is forbidden (403, not 404)."""


STATUS_OF[NotInQueueAtGate] = 403
_WITH_OWN_STATUS: Final = (errors.RateLimited, errors.RateLimitKeyMissing)

_DETAILED: Final = (
    errors.BadRequest,
    errors.ConfigError,
    errors.RequestTimeout,
    errors.TooManySlowUploads,
)
"""Errors whose answers have further members, or end the connection."""

_TEMPORARY: Final = 503
"""The status of a temporary refusal."""

_CHALLENGE: Final[dict[type[GatewayError], str]] = {
    errors.TokenRequired: "Bearer",
    # RFC 9110 asks for a scheme with each 401. Clients that do not know this one ignore it.
    errors.CookieRequired: "Cookie",
    errors.SessionRequired: "Cookie",
    errors.TokenExpired: 'Bearer error="invalid_token", error_description="expired"',
    errors.TokenInvalid: 'Bearer error="invalid_token"',
}


# Kept, because json.dumps creates a new encoder for each call with options.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@lru_cache(maxsize=256)
def _json_text(text: str) -> str:
    return _to_json(text)


def encode(content: object) -> bytes:
    """Compact JSON in UTF-8. A user id that is not valid Unicode is escaped, not refused."""
    return _to_json(content).encode("utf-8", "backslashreplace")


def json_response(
    context: RequestContext,
    content: dict[str, Any],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> JsonResponse:
    """One of the gateway's own JSON answers: ``content`` plus the members at the end of every envelope."""
    content["timestamp"] = timestamp(time.time())
    content["traceId"] = context.trace_id
    return JsonResponse(encode(content), status=status, headers=headers)


def envelope(context: RequestContext, key: str) -> dict[str, Any]:
    """The members that every success has, with the message ``key``."""
    text = message(context.locale, key)
    return {
        "success": True,
        "message": text,
        "timestamp": timestamp(time.time()),
        "traceId": context.trace_id,
    }


def success(context: RequestContext, key: str, **members: Any) -> JsonResponse:
    """A success with the message ``key``; ``members`` that are None are left out."""
    content: dict[str, Any] = {"success": True, "message": message(context.locale, key)}
    content.update((name, value) for name, value in members.items() if value is not None)
    return json_response(context, content)


def state_response(context: RequestContext, key: str, state: State) -> JsonResponse:
    """A success with the message ``key`` and the caller's state. Built by hand for speed, because every user who lines
    up gets one. Parts that many answers share are encoded once."""
    token = context.queue_pass.token if context.queue_pass is not None else ""
    text = (
        f'{{"success":true,"message":{_json_text(message(context.locale, key))},'
        f"{state_json(_json_text(state.room), state, context.languages, token)},"
        f'"timestamp":"{timestamp(time.time())}","traceId":"{context.trace_id}"}}'
    )
    return JsonResponse(text.encode("utf-8", "backslashreplace"))


def status_of(error: GatewayError) -> int:
    """The HTTP status of the answer to ``error``."""
    if isinstance(error, _WITH_OWN_STATUS):
        return error.status
    for kind in type(error).__mro__:
        if (status := STATUS_OF.get(kind)) is not None:
            return status
    return 500


def error_response(context: RequestContext, error: GatewayError) -> WholeResponse:
    """The answer to ``error``. Errors without a status of their own become 500 INTERNAL_ERROR without details.

    A temporary refusal of a stream gets the answer of a full instance: 200, the time to come back, and the end. After
    any other status an ``EventSource`` never reconnects.
    """
    status = status_of(error)
    code = error.code if status != 500 else GatewayError.code
    context.outcome = code
    if context.streams and status == _TEMPORARY:
        return EventsResponse(retry_later(code).raw)
    text = message(context.locale, f"error.{code}")
    if not isinstance(error, _DETAILED):
        return _plain_error(context, error, status, code, text)
    details: dict[str, Any] = {"code": code, "message": text, "status": status}
    if context.target is not None:
        details["path"] = context.target.raw_path
    fields = error.fields if isinstance(error, errors.BadRequest | errors.ConfigError) else ()
    if isinstance(error, errors.BadRequest | errors.RequestTimeout) and not fields:
        fields = (errors.FieldError("request", "", error.reason),)
    if fields:
        details["fields"] = [
            {"field": f.field, "value": f.value, "reason": f.reason}
            if f.value
            else {"field": f.field, "reason": f.reason}
            for f in fields
        ]
    content: dict[str, Any] = {"success": False, "message": text, "error": details}
    response = json_response(context, content, status=status, headers=error_headers(error))
    if isinstance(error, errors.RequestTimeout | errors.TooManySlowUploads):
        # The gateway does not wait for the rest of the body.
        response.force_close()
    return response


def _plain_error(
    context: RequestContext, error: GatewayError, status: int, code: str, text: str
) -> JsonResponse:
    """The answer to an error that has no faults of the request to list. Built by hand for speed: a crowd without tokens
    or slots gets one for each call."""
    quoted = _json_text(text)
    path = "" if context.target is None else f',"path":{_to_json(context.target.raw_path)}'
    place = ""
    if isinstance(error, errors.QueueWaiting) and isinstance(error.state, State):
        place = f"{state_json(_json_text(error.state.room), error.state, context.languages)},"
    elif isinstance(error, errors.RoomClosed):
        moments = f',"opensAt":{error.opens_at}' if error.opens_at else ""
        moments += f',"registersAt":{error.registers_at}' if error.registers_at else ""
        if isinstance(error.notice, Notice) and (text := notice_json(error.notice, context.languages)):
            moments += f',"notice":{text}'
        place = f'"data":{{"room":{_json_text(error.room)}{moments}}},'
    content = (
        f'{{"success":false,"message":{quoted},'
        f'"error":{{"code":"{code}","message":{quoted},"status":{status}{path}}},{place}'
        f'"timestamp":"{timestamp(time.time())}","traceId":"{context.trace_id}"}}'
    )
    return JsonResponse(
        content.encode("utf-8", "backslashreplace"), status=status, headers=error_headers(error)
    )


def error_headers(error: GatewayError) -> dict[str, str]:
    """The headers that belong to ``error``."""
    headers = {}
    challenge = _CHALLENGE.get(type(error))
    if challenge:
        headers["WWW-Authenticate"] = challenge
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if isinstance(error, errors.AuthUnavailable):
        headers["Retry-After"] = "5"
    if isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    return headers
