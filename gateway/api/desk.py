"""``/desk``: the operator's desk, a page for people who run a sale. It shows rooms as they are, and carries out acts.

Its calls below ``/desk/api`` are those of ``/actuator/rooms`` with another way to sign in: a session in a cookie, and a
token for each change. So the desk can do nothing that operators can't do by the API, and says the same errors.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from typing import Any, Final

from aiohttp import web

from gateway import __version__
from gateway.api import desk_stream, rooms, services
from gateway.api.actuator import BASE
from gateway.api.body import form_values, read_body
from gateway.api.desk_access import SESSION_LABEL
from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.api.own_origin import check_own_page
from gateway.auth import desk as sessions
from gateway.context import (
    CONFIGURATION,
    CONTEXT,
    DESK_SESSION,
    DESK_SESSIONS,
    OPERATOR,
    OPERATORS,
    ROOMS,
    UPLOADS,
)
from gateway.errors import BadRequest, FieldError, RouteNotFound
from gateway.pages.desk_files import desk_files
from gateway.pages.swagger_files import Content
from gateway.pages.waiting_page.states import PageState
from gateway.pages.waiting_page.texts import LANGUAGES
from gateway.proxy.security_headers import SecurityHeaders
from gateway.query import parse_query, values_of
from gateway.waiting_room.forecast import Change, forecast, per_second

PATH: Final = sessions.PATH
API: Final = f"{PATH}/api"
MAX_BYTES: Final = 4096

SECURITY: Final = SecurityHeaders(
    others=(
        (
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
)
"""The headers of each answer of the desk."""

_NO_TOKEN: Final = re.compile(r"[\s\ud800-\udfff]")
_ACT: Final = re.compile(rf"{BASE}/rooms/\{{room\}}/([a-z-]+)")
DESK_ACTS: Final[web.AppKey[tuple[str, ...]]] = web.AppKey("desk_acts", tuple)
"""The acts that the desk offers."""


def endpoints(of_operators: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of the desk. ``of_operators``: those below ``/actuator``; the desk has those of rooms and
    services."""
    return tuple(
        replace(endpoint, security=SECURITY)
        for endpoint in (
            Endpoint("GET", sessions.PATH, page, auth="desk_open", label="desk", slash=True),
            Endpoint("GET", f"{sessions.PATH}/assets/{{file}}", asset, auth="desk_open", label="desk.assets"),
            Endpoint("POST", f"{sessions.PATH}/session", sign_in, auth="desk_open", label=SESSION_LABEL),
            Endpoint("GET", f"{sessions.PATH}/session", show_session, auth="desk", label=SESSION_LABEL),
            Endpoint("DELETE", f"{sessions.PATH}/session", sign_out, auth="desk", label=SESSION_LABEL),
            Endpoint("GET", f"{API}/rooms/{{room}}/forecast", foretell, auth="desk", label="desk.rooms"),
            Endpoint(
                "GET",
                f"{API}/rooms/{{room}}/events",
                desk_stream.events,
                auth="desk",
                label="desk.events",
            ),
            Endpoint("GET", f"{API}/rooms/{{room}}/page", preview, auth="desk", label="desk.page"),
            *(
                replace(each, path=API + each.path.removeprefix(BASE), auth="desk", label="desk.rooms")
                for each in of_operators
                if each.path.startswith(f"{BASE}/rooms")
            ),
            *(
                replace(each, path=API + each.path.removeprefix(BASE), auth="desk", label="desk.services")
                for each in of_operators
                if each.path == services.PATH
            ),
        )
    )


def acts(of_operators: Iterable[Endpoint]) -> tuple[str, ...]:
    """The acts that the desk offers, by the names of their commands. ``of_operators`` as in ``endpoints``."""
    found = (_ACT.fullmatch(each.path) for each in of_operators if each.method == "POST")
    return tuple(sorted({"set", "remove", *(match[1] for match in found if match)}))


async def page(request: web.Request) -> web.StreamResponse:
    """The page. It holds nothing of any room, so it needs no session."""
    return _served(desk_files().page, "no-store")


async def asset(request: web.Request) -> web.StreamResponse:
    """A file of the page. Its name changes with its content."""
    content = desk_files().assets.get(request[CONTEXT].parameters["file"])
    if content is None:
        raise RouteNotFound
    return _served(content, "private, max-age=31536000, immutable")


def _served(content: Content, caching: str) -> web.Response:
    charset = "utf-8" if content.media_type.startswith("text/") else None
    return web.Response(
        body=BytesIO(content.body),
        content_type=content.media_type,
        charset=charset,
        headers={"Cache-Control": caching},
    )


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Begins a session for the operator whose token the call brings, as JSON or as a form. The former session
    of the browser, if any, ends."""
    context = request[CONTEXT]
    # A page of another origin must not sign the browser in with a token of its own choice.
    check_own_page(request, context)
    operator = request.app[OPERATORS].identify([f"Bearer {await _given_token(request)}"], context.client)
    former = sessions.token_of(request.headers.getall("Cookie", ()), secure=context.over_tls)
    if former is not None:
        # The new cookie replaces the former one. Without it no one could sign out of the former session.
        await request.app[DESK_SESSIONS].end(sessions.hash_of(former))
    token = sessions.new_token()
    await request.app[DESK_SESSIONS].begin(
        sessions.hash_of(token), operator.name, sessions.proof_of(token, operator), sessions.SESSION_SECONDS
    )
    request[OPERATOR], request[DESK_SESSION] = operator, token
    if request.headers.get("Sec-Fetch-Mode") == "navigate":
        response: web.StreamResponse = web.Response(
            status=303, headers={"Location": sessions.PATH, "Cache-Control": "no-store"}
        )
    else:
        response = _session_response(request, sessions.SESSION_SECONDS)
    response.headers.add("Set-Cookie", sessions.cookie(token, secure=context.over_tls))
    return response


async def _given_token(request: web.Request) -> str:
    """The token in the body. Raises BadRequest without exactly one."""
    uploads, client = request.app[UPLOADS], request[CONTEXT].client
    if request.content_type == "application/x-www-form-urlencoded":
        tokens = await form_values(request, "token", uploads, client)
        token = tokens[0] if len(tokens) == 1 else ""
    else:
        try:
            body = json.loads(await read_body(request, MAX_BYTES, uploads, client))
        except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
            body = None
        given = body.get("token") if isinstance(body, dict) and body.keys() == {"token"} else None
        token = given if isinstance(given, str) else ""
    # As long as a header with it may be. A blank can be in no operator's token, and half a surrogate pair in no text.
    if not token or len(token) > MAX_BYTES or _NO_TOKEN.search(token):
        fault = FieldError(
            "token", "", "an operator's token is needed, as JSON or in a form, and nothing else"
        )
        raise BadRequest("no token was given", (fault,))
    return token


async def show_session(request: web.Request) -> web.StreamResponse:
    """Whose session it is, and what it may do."""
    found = await request.app[DESK_SESSIONS].find(sessions.hash_of(request[DESK_SESSION]))
    return _session_response(request, 0.0 if found is None else found.seconds)


async def sign_out(request: web.Request) -> web.StreamResponse:
    """Ends the session."""
    await request.app[DESK_SESSIONS].end(sessions.hash_of(request[DESK_SESSION]))
    response = success(request[CONTEXT], "desk.signed_out")
    response.headers.add("Set-Cookie", sessions.cookie("", secure=request[CONTEXT].over_tls))
    return response


def _session_response(request: web.Request, seconds: float) -> web.StreamResponse:
    operator = request[OPERATOR]
    configuration = request.app[CONFIGURATION]
    settings, pages = configuration.settings, configuration.tables.current.table.pages
    offered: tuple[str, ...] = request.app[DESK_ACTS]
    data: dict[str, Any] = {
        "operator": operator.name,
        "role": operator.role,
        "csrfToken": sessions.csrf_token_of(request[DESK_SESSION]),
        "expiresAt": round((time.time() + seconds) * 1000),
        "acts": offered if operator.role == "act" else (),
        "rooms": [room.name for room in request.app[ROOMS]],
        "pages": [room.name for room in request.app[ROOMS] if pages.get(room.name) is not None],
        "pageStates": list(PageState),
        "pageLanguages": LANGUAGES,
        "application": settings.spring_application_name,
        "version": __version__,
    }
    return success(request[CONTEXT], "desk.signed_in", data=data)


async def preview(request: web.Request) -> web.StreamResponse:
    """The waiting page of the room with made-up numbers, in the state ``?state=`` and the language ``?lang=``. Raises
    RouteNotFound if the room has no page."""
    name, target = request[CONTEXT].parameters["room"], request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    found = request.app[CONFIGURATION].tables.current.table.pages.get(name)
    if found is None:
        raise RouteNotFound
    given = [(values_of(target.raw_query, key) or [""]) for key in ("state", "lang")]
    (state, *_), (language, *_) = given
    if state not in list(PageState) or language not in LANGUAGES or any(len(each) > 1 for each in given):
        raise BadRequest(f"state must be one of {', '.join(PageState)}; lang one of {', '.join(LANGUAGES)}")
    body, policy = found.page.preview(PageState(state), language, room=name)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


async def foretell(request: web.Request) -> web.StreamResponse:
    """What the act ``?act=`` would do to the line now; with ``set`` also ``capacity``, ``duration`` and ``rate``."""
    room = await rooms.requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    given = {each.name: each.value or "" for each in parse_query(target.raw_query)}
    act = given.pop("act", "")
    offered: tuple[str, ...] = request.app[DESK_ACTS]
    if act not in offered:
        raise BadRequest(f"act must be one of {', '.join(offered)}")
    change = Change(
        capacity=int(_number(given, "capacity")) if given.get("capacity") else None,
        duration=max(rooms.MIN_SECONDS, _number(given, "duration")) if given.get("duration") else None,
        rate=per_second(given["rate"]) if given.get("rate") else None,
    )
    summary = await room.overview()
    found = forecast(summary, act, change)
    data = {
        "waiting": summary.waiting,
        "before": None if found.before is None else round(found.before),
        "after": None if found.after is None else round(found.after),
        "lose": found.lose,
        "atOnce": found.at_once,
    }
    return success(request[CONTEXT], "desk.forecast", data=data)


def _number(given: dict[str, str], name: str) -> float:
    text = given[name]
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text):
        raise BadRequest(f"{name} must be a number")
    return float(text)
