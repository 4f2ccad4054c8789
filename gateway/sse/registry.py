"""The users who have streams here, each with the streams and a slot on the wheel."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.sse.pacing import Wheel
from gateway.sse.subscriber import Subscriber


class StreamLimit:
    """How many streams this instance has and may have, all rooms together."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self.taken >= self.limit


class UserStreams:
    """A user with at least one stream here. ``tabs`` are in the order they came; ``slot`` is on the wheel.

    ``tabs`` is a tuple, so callers can iterate over it without copying it first.

    ``promised``: the first estimate shown for the current ticket: ticket, seconds, and when it was shown.
    """

    __slots__ = ("promised", "slot", "tabs", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.tabs: tuple[Subscriber, ...] = ()
        self.slot = 0
        self.promised: tuple[int, float, float] | None = None


class StreamRegistry:
    """The streams of one room."""

    def __init__(self, seats: StreamLimit) -> None:
        self.wheel: Wheel[UserStreams] = Wheel()
        self._seats = seats
        self._people: dict[str, UserStreams] = {}
        self._streams = 0

    def __len__(self) -> int:
        """The number of streams."""
        return self._streams

    def find(self, user: str) -> UserStreams | None:
        """The user's entry, if the user has a stream here."""
        return self._people.get(user)

    def add(self, tab: Subscriber) -> UserStreams:
        """Adds a stream. With the first stream the user gets a slot on the wheel."""
        person = self._people.get(tab.user)
        if person is None:
            person = self._people[tab.user] = UserStreams(tab.user)
            person.slot = self.wheel.add(person)
        person.tabs += (tab,)
        self._streams += 1
        self._seats.taken += 1
        return person

    def discard(self, tab: Subscriber) -> UserStreams | None:
        """Removes a stream and returns the entry of its user, or ``None`` if the stream wasn't here."""
        person = self._people.get(tab.user)
        if person is None or tab not in person.tabs:
            return None
        person.tabs = tuple(other for other in person.tabs if other is not tab)
        if not person.tabs:
            del self._people[tab.user]
            self.wheel.remove(person, person.slot)
        self._streams -= 1
        self._seats.taken -= 1
        return person

    def slots(self) -> Iterator[list[UserStreams]]:
        """All users, slot by slot; streams may come and go between two steps."""
        for slot in range(len(self.wheel)):
            yield self.wheel[slot]

    def tabs(self) -> Iterator[Subscriber]:
        """Every stream; others may come and go between two steps."""
        for people in self.slots():
            for person in people:
                yield from person.tabs
