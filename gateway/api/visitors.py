"""What is checked before a visitor gets a place: how many others have one at the address, and an outside service."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.auth.visitors import visitor_key
from gateway.context import CHALLENGES, CONFIGURATION, RequestContext
from gateway.errors import GatewayError, QueueUnavailable, TooManyPlaces
from gateway.proxy.uploads import network_of, site_of
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import Reserved

Release = Callable[[], Awaitable[None]]
"""Takes back what was reserved for a visitor who then gets no place."""


async def reserve_place(
    app: web.Application, context: RequestContext, room: Room, *, giver: str = ""
) -> tuple[Reserved, Release]:
    """Keeps a place in ``room`` for the visitor who calls, within the bound of the address, for ten seconds. ``giver``:
    whose place the visitor takes over. Raises TooManyPlaces or QueueUnavailable."""
    assert context.visitor is not None  # noqa: S101 - the callers serve visitors only
    limits = app[CONFIGURATION].tables.current.table.rooms.get(room.name)
    most = 0 if limits is None else limits.places_per_address or 0
    visitor, address = visitor_key(context.visitor), network_of(context.client)
    reservation = await room.reserve(visitor, address, most, giver=giver)
    if reservation.code is Reserved.REFUSED:
        raise TooManyPlaces

    async def release() -> None:
        if reservation.stamp:
            with contextlib.suppress(QueueUnavailable):
                await room.release(visitor, address, reservation.stamp)

    return reservation.code, release


def maker(context: RequestContext) -> str:
    """Who is counted as having made a room: the user, or all visitors at the address, since anyone may be any number of
    visitors."""
    if context.visitor is None:
        return f"user {context.member}"
    return f"address {network_of(context.client)}"


async def check_visitor(app: web.Application, context: RequestContext, room: Room) -> Release | None:
    """Whether the visitor who lines up may have a place in ``room``. A visitor who has one is not asked about again.
    Returns what to call if the lineup is refused all the same; None: nothing.

    Raises TooManyPlaces, ChallengeRequired or QueueUnavailable.
    """
    limits = app[CONFIGURATION].tables.current.table.rooms.get(room.name)
    if (
        context.visitor is None
        or limits is None
        or room.off
        or not (limits.places_per_address or limits.challenge)
    ):
        return None
    code, release = await reserve_place(app, context, room)
    if code is not Reserved.FREE:
        return release
    try:
        await challenge_visitor(app, context, room.name)
    except GatewayError:
        await release()
        raise
    return release


async def challenge_visitor(app: web.Application, context: RequestContext, room: str) -> None:
    """Asks the outside service, if ``room`` has one, whether the visitor who calls may have a place; once for a call.
    Raises ChallengeRequired or QueueUnavailable."""
    limits = app[CONFIGURATION].tables.current.table.rooms.get(room)
    if context.visitor is None or context.challenged or limits is None or limits.challenge is None:
        return
    await app[CHALLENGES].ask(
        limits.challenge.url,
        room,
        context.visitor,
        context.client,
        client=network_of(context.client),
        site=site_of(context.client),
        seconds=limits.challenge.timeout,
        fail_open=limits.challenge.fail_open,
    )
    context.challenged = True
