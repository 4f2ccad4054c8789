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
    """A user with at least one stream here. ``subscribers`` are in the order they came; ``slot`` is on the wheel.

    ``subscribers`` is a tuple, so callers can iterate over it without copying it first.

    ``first_estimate``: the first estimate shown for the current ticket: ticket, seconds, and when it was shown.
    ``place``: the ticket, position and lane read last. ``fronts``: how many users had been put in front by then.
    """

    __slots__ = ("first_estimate", "fronts", "place", "slot", "subscribers", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.subscribers: tuple[Subscriber, ...] = ()
        self.slot = 0
        self.first_estimate: tuple[int, float, float] | None = None
        self.place: tuple[int | None, int | None, str] = (None, None, "")
        self.fronts = 0


class StreamRegistry:
    """The streams of one room."""

    def __init__(self, stream_limit: StreamLimit) -> None:
        self.wheel: Wheel[UserStreams] = Wheel()
        self._stream_limit = stream_limit
        self._entries: dict[str, UserStreams] = {}
        self._streams = 0

    def __len__(self) -> int:
        """The number of streams."""
        return self._streams

    def find(self, user: str) -> UserStreams | None:
        """The user's entry, if the user has a stream here."""
        return self._entries.get(user)

    def add(self, subscriber: Subscriber) -> UserStreams:
        """Adds a stream. With the first stream the user gets a slot on the wheel."""
        entry = self._entries.get(subscriber.user)
        if entry is None:
            entry = self._entries[subscriber.user] = UserStreams(subscriber.user)
            entry.slot = self.wheel.add(entry)
        entry.subscribers += (subscriber,)
        self._streams += 1
        self._stream_limit.taken += 1
        return entry

    def discard(self, subscriber: Subscriber) -> UserStreams | None:
        """Removes a stream and returns the entry of its user, or ``None`` if the stream wasn't here."""
        entry = self._entries.get(subscriber.user)
        if entry is None or subscriber not in entry.subscribers:
            return None
        entry.subscribers = tuple(other for other in entry.subscribers if other is not subscriber)
        if not entry.subscribers:
            del self._entries[subscriber.user]
            self.wheel.remove(entry, entry.slot)
        self._streams -= 1
        self._stream_limit.taken -= 1
        return entry

    def slots(self) -> Iterator[list[UserStreams]]:
        """All users, slot by slot; streams may come and go between two steps."""
        for slot in range(len(self.wheel)):
            yield self.wheel[slot]

    def subscribers(self) -> Iterator[Subscriber]:
        """Every stream; others may come and go between two steps."""
        for entries in self.slots():
            for entry in entries:
                yield from entry.subscribers
