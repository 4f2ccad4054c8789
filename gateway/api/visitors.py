"""What is checked before a visitor gets a place: how many others have one at the address, and an outside service."""

from __future__ import annotations

from aiohttp import web

from gateway.auth.visitors import visitor_key
from gateway.context import CHALLENGES, CONFIGURATION, RequestContext
from gateway.errors import TooManyPlaces
from gateway.proxy.uploads import network_of
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import Reserved


async def check_visitor(app: web.Application, context: RequestContext, room: Room) -> None:
    """Whether the visitor who lines up may have a place in ``room``. A visitor who has one is not asked about again.

    Raises TooManyPlaces, ChallengeRequired or QueueUnavailable.
    """
    limits = app[CONFIGURATION].tables.current.table.rooms.get(room.name)
    visitor = context.visitor
    if visitor is None or limits is None or room.off or not (limits.places_per_address or limits.challenge):
        return
    reserved = await room.reserve(
        visitor_key(visitor), network_of(context.client), limits.places_per_address or 0
    )
    if reserved is Reserved.REFUSED:
        raise TooManyPlaces
    if limits.challenge is not None and reserved is Reserved.FREE:
        await app[CHALLENGES].ask(
            limits.challenge.url,
            room.name,
            visitor,
            context.client,
            seconds=limits.challenge.timeout,
            fail_open=limits.challenge.fail_open,
        )
