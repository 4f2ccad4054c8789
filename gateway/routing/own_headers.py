"""Headers that the gateway sets or removes itself, even if a route's filters set them. Pure.

A route may set the headers that describe the client (``X-Forwarded-*``, ``Forwarded``, ``X-Real-IP``) in place of the
gateway, because a route file is as trustworthy as the gateway's settings. A route can't set headers that identify the
caller, that belong to one connection, or that belong to a trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.observability.tracing import TRACE_HEADERS, TRACE_ID

_SEPARATOR = re.compile(r"[^a-z0-9]")
_CALLER: Final = "it comes from the token alone"
_VISITOR: Final = "it comes from the visitor's cookie alone"
_ROOM: Final = "it comes from the room alone"
_CONNECTION: Final = "it belongs to one connection, and the gateway passes none on"
_OTHER_CALL: Final = "some services would serve another call than the one that the gateway has judged"
_TRACE: Final = "the gateway names its own place in the trace"

# Keys are letters and digits only, because identity headers are compared in that form.
_NO_EFFECT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("xuserid", "xusertype", "xgatewaysignature"), _CALLER),
    "xvisitorid": _VISITOR,
    "xqueuepass": _ROOM,
    "xqueueroom": _ROOM,
    **dict.fromkeys(
        ("xhttpmethod", "xhttpmethodoverride", "xmethodoverride", "xoriginalurl", "xrewriteurl"),
        _OTHER_CALL,
    ),
}
# Keys are in the form that ``folded`` returns, because other headers are compared in that form.
_NO_EFFECT_FOLDED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "proxy-connection"),
        _CONNECTION,
    ),
    **dict.fromkeys(map(str.lower, TRACE_HEADERS), _TRACE),
    "expect": "the gateway answers it itself, so that no service waits for a body",
    "proxy": "services make HTTP_PROXY of it, through which they would send their own calls",
}
_CLIENT_HEADERS: Final = frozenset({"forwarded", "x-real-ip", "x-forwarded"})
_FORWARDING_HEADERS: Final = _CLIENT_HEADERS | {
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
}


def folded(name: str) -> str:
    """The form in which names are compared. Many services take ``X_Real_IP`` for ``X-Real-IP``."""
    return _SEPARATOR.sub("-", name.lower())


def describes_client(name: str) -> bool:
    """Whether this header describes the client to a service. A client may not set such a header; a route may."""
    form = folded(name)
    return form in _CLIENT_HEADERS or form.startswith("x-forwarded-")


def is_forwarding_header(name: str) -> bool:
    """Whether the gateway sets this header for each request, unless ``FORWARDED_HEADERS`` leaves it out."""
    return folded(name) in _FORWARDING_HEADERS


def no_effect_in_request(name: str) -> str:
    """Why a filter can't set this request header; "" if it can."""
    form = folded(name)
    return _NO_EFFECT.get(form.replace("-", "")) or _NO_EFFECT_FOLDED.get(form, "")


def why_not_removable(name: str) -> str:
    """Why a filter can't remove this request header; "" if it can."""
    if is_forwarding_header(name):
        return "the gateway writes it; FORWARDED_HEADERS says which of these services are told"
    return _TRACE if folded(name) in ("traceparent", "tracestate") else ""


def no_effect_in_response(name: str) -> str:
    """Why a filter can't set this response header; "" if it can."""
    if name.lower() == TRACE_ID.lower():
        return "the gateway names the trace in it"
    return _CONNECTION if folded(name).startswith("proxy-") and folded(name) in _NO_EFFECT_FOLDED else ""
