"""The states that the page shows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class PageState(StrEnum):
    """A state of the page, by the name that ``data-state`` has."""

    WAITING = "waiting"
    REGISTERED = "registered"
    TURN = "turn"
    """Let in, and the page does not enter by itself. Set by the script."""
    CLOSED = "closed"
    SOLD_OUT = "sold-out"
    FULL = "full"
    NOT_ELIGIBLE = "not-eligible"
    COOKIES = "cookies"
    """The first answer to a visitor: the next request takes the place."""
    COOKIES_BLOCKED = "cookies-blocked"
    """The browser does not send cookies back. Set by the script."""
    MOVED = "moved"
    """The place is on another device. Set by the script."""
    REMOVED = "removed"
    """The place has ended. Set by the script."""
    LEFT = "left"
    OFFLINE = "offline"
    """The connection is lost. Set by the script."""
    ERROR = "error"
    TRANSFER = "transfer"
    """A code for another device."""
    TAKE_OVER = "take-over"
    """Asks whether this device is to take the place."""


RELOADING: Final = frozenset(
    {
        PageState.WAITING,
        PageState.REGISTERED,
        PageState.CLOSED,
        PageState.FULL,
        PageState.COOKIES,
        PageState.ERROR,
    }
)
"""States in which the page asks again by itself, without a script too."""
WITH_PLACE: Final = frozenset({PageState.WAITING, PageState.REGISTERED})
"""States in which the person may leave, or take the place to another device."""
_BY_SCRIPT: Final = (
    PageState.TURN,
    PageState.OFFLINE,
    PageState.MOVED,
    PageState.REMOVED,
    PageState.SOLD_OUT,
    PageState.CLOSED,
    PageState.FULL,
    PageState.ERROR,
    PageState.COOKIES_BLOCKED,
)


def sections_of(state: PageState) -> tuple[PageState, ...]:
    """The states whose texts a page in this state holds: those that its script may come to."""
    if state not in RELOADING:
        return (state,)
    return (state, *(each for each in _BY_SCRIPT if each is not state))
