"""``/api/v1/queue/transfer``: a visitor takes the place to another device, by a code that is good once."""

from __future__ import annotations

import re
import time
from typing import Any, Final

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import state_response, success
from gateway.api.own_origin import origin_of, page_before, with_room
from gateway.api.queue import QUEUE, caller, issue_pass, room_name, with_receipt
from gateway.api.visitors import Release, reserve_place
from gateway.api.waiting_page import new_facts, page_response, see_other
from gateway.context import (
    CODE_GUESSES,
    CONFIGURATION,
    CONTEXT,
    OBSERVERS,
    PASSES,
    ROOMS,
    SIGNING_KEYS,
    TRANSFERS,
    RequestContext,
)
from gateway.errors import (
    NotInQueue,
    QueueUnavailable,
    RouteNotFound,
    TooManyWrongCodes,
    TransferCodeInvalid,
    TransferNotAllowed,
)
from gateway.pages.waiting_page.qr import qr_address
from gateway.pages.waiting_page.states import PageState
from gateway.proxy.forwarded import Origin, direct_origin
from gateway.settings.model import Settings
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import State, StateKind
from gateway.waiting_room.transfers import CONSONANTS, LENGTH, Holder, Offer

PATH: Final = f"{QUEUE}/transfer"
_CODE: Final = re.compile(f"[{CONSONANTS}]{{{LENGTH}}}")


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints of this module."""
    return (
        Endpoint("POST", PATH, offer, label="queue.transfer", of_room=True, may_be_page=True),
        Endpoint("GET", PATH, show, label="queue.transfer", of_room=True, may_be_page=True),
        # Previews of links fetch this, so it must use no code. It also says nothing of any, because it needs no cookie.
        Endpoint(
            "GET", f"{PATH}/{{code}}", explain, auth="nothing", label="queue.transfer-code", may_be_page=True
        ),
        Endpoint(
            "POST", f"{PATH}/{{code}}", redeem, label="queue.transfer-code", of_room=True, may_be_page=True
        ),
    )


async def offer(request: web.Request) -> web.StreamResponse:
    """Gives the visitor a code for the place or slot. A browser that navigates is sent on to the page with the code, so
    that a reload of it sends no form again."""
    context = request[CONTEXT]
    given = await _offered(request)
    if context.as_page:
        return see_other(with_room(PATH, room_name(context)))
    return success(context, "transfer.offered", data=_data(request, context, given))


async def show(request: web.Request) -> web.StreamResponse:
    """The visitor's code, for people. Raises RouteNotFound for other clients, which get it where they ask for one."""
    context = request[CONTEXT]
    if context.page is None or not context.as_page:
        raise RouteNotFound
    given = await _offered(request)
    holder = await request.app[TRANSFERS].holder(room_name(context), given.code)
    data = _data(request, context, given)
    facts = new_facts(room_name(context))
    facts.code, facts.url, facts.valid_until = given.code, data["url"], data["expiresAt"]
    facts.qr = qr_address(facts.url)
    facts.back = "/" if holder is None else holder.path
    return page_response(request, context, context.page, PageState.TRANSFER, facts)


async def _offered(request: web.Request) -> Offer:
    app, context = request.app, request[CONTEXT]
    room = await app[ROOMS].find(room_name(context))
    if context.visitor is None:
        raise TransferNotAllowed
    state = await room.status(caller(context))
    if state.kind is StateKind.NONE:
        raise NotInQueue
    return await app[TRANSFERS].offer(room.name, caller(context), page_before(request, context))


def _data(request: web.Request, context: RequestContext, given: Offer) -> dict[str, Any]:
    return {
        "code": given.code,
        "url": _url(request, context, given.code),
        "expiresAt": round((time.time() + given.seconds) * 1000),
    }


async def explain(request: web.Request) -> web.StreamResponse:
    """Says how a code is used. Raises TransferCodeInvalid for what no code looks like."""
    context = request[CONTEXT]
    if not _CODE.fullmatch(context.parameters["code"].lower()):
        raise TransferCodeInvalid
    if context.page is not None and context.as_page:
        facts = new_facts(room_name(context))
        return page_response(request, context, context.page, PageState.TAKE_OVER, facts)
    return success(context, "transfer.explained")


async def redeem(request: web.Request) -> web.StreamResponse:
    """Moves the place or slot of the code's visitor to the caller, with the same ticket."""
    app, context = request.app, request[CONTEXT]
    room, taker = await app[ROOMS].find(room_name(context)), caller(context)
    if isinstance(room, UnmadeRoom):
        raise TransferCodeInvalid
    holder = await _holder(app, context, room)
    if holder.visitor == taker:
        # The code's own device has opened the address. The code stays good.
        if context.as_page:
            return see_other(holder.path)
        return state_response(context, "transfer.own", await room.status(taker))
    state = await _moved(app, context, room, holder, taker)
    if (passes := app.get(PASSES)) is not None:
        issue_pass(passes, context, state)
    state = with_receipt(app[SIGNING_KEYS], state, taker)
    return see_other(holder.path) if context.as_page else state_response(context, "transfer.done", state)


async def _holder(app: web.Application, context: RequestContext, room: Room) -> Holder:
    """The visitor to whom the code belongs. Raises TransferCodeInvalid, and TooManyWrongCodes for an address
    that has sent too many wrong ones, whether this one is right or not."""
    guesses, code = app[CODE_GUESSES], context.parameters["code"].lower()
    # Counted before Redis is asked: of many guesses at a time, none may find the count as it was before the others.
    wait = guesses.add(context.client)
    if wait:
        raise TooManyWrongCodes(wait)
    try:
        holder = await app[TRANSFERS].holder(room.name, code) if _CODE.fullmatch(code) else None
    except QueueUnavailable:
        guesses.take_back(context.client)
        raise
    if holder is None:
        raise TransferCodeInvalid
    guesses.take_back(context.client)
    return holder


async def _reserved(app: web.Application, context: RequestContext, room: Room, giver: str) -> Release | None:
    """Checks the bound of the address at which the place arrives. Raises TooManyPlaces; the code then stays good.
    Returns what to call if the place does not arrive; None: there is no bound."""
    limits = app[CONFIGURATION].tables.current.table.rooms.get(room.name)
    if context.visitor is None or limits is None or not limits.places_per_address:
        return None
    _, release = await reserve_place(app, context, room, giver=giver)
    return release


async def _moved(
    app: web.Application, context: RequestContext, room: Room, holder: Holder, taker: str
) -> State:
    """Uses the code. Raises TransferCodeInvalid if the visitor has no place any more, maybe because another device has
    just used the code. Raises TooManyPlaces, and QueueUnavailable while the place can't be moved; the code stays good
    then."""
    release = await _reserved(app, context, room, holder.visitor)
    moved, state = await room.move(holder.visitor, taker)
    await app[TRANSFERS].redeem(room.name, context.parameters["code"].lower(), holder)
    if not moved or state.kind is StateKind.NONE:
        if release is not None:
            await release()
        raise TransferCodeInvalid
    app[OBSERVERS].metrics.place_moved(room.name, "device")
    return state


def _url(request: web.Request, context: RequestContext, code: str) -> str:
    """The address that the other device opens, as this one reaches the gateway."""
    origin = origin_of(request, context)
    path = with_room(f"{PATH}/{code}", room_name(context))
    return f"{origin.scheme}://{_authority(origin)}{path}" if origin.host else path


def _authority(origin: Origin) -> str:
    """The host of an origin with its port, which a proxy may report on its own."""
    usual = origin.port == ("443" if origin.scheme == "https" else "80")
    if usual or direct_origin(origin.address, origin.scheme, origin.host).port == origin.port:
        return origin.host
    return f"{origin.host.removesuffix(':')}:{origin.port}"
