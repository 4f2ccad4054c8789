"""A fixed number of places. Their owners share them evenly if there are too few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Holder = TypeVar("Holder")


class FairPlaces(Generic[Holder]):
    """At most ``most`` places, each held by a ``Holder`` (hashable, by identity) of an owner.

    One owner may hold all places until another owner wants one. Then the other owners take places from the owner with
    the most, until all hold equally many. So no owner keeps the others out. All methods take constant time, because an
    attacker can cause many calls.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._owners: dict[Holder, str] = {}
        # By owner; the newest holder is last.
        self._holders: dict[str, dict[Holder, None]] = {}
        # The owners with so many places; the count of places changes by one, and so does the largest one.
        self._with_count: dict[int, dict[str, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        return len(self._owners)

    def __iter__(self) -> Iterator[Holder]:
        return iter(self._owners)

    def take(self, owner: str, holder: Holder) -> tuple[bool, Holder | None]:
        """Gives ``owner`` a place for ``holder``, who has none. Returns whether there was one for it, and the holder
        who has lost its place for that, if any: the newest one of the owner with the most.

        There is none if that owner would then have fewer than ``owner``, since the two would take it from each other
        for ever.
        """
        displaced: Holder | None = None
        if len(self._owners) >= self._most:
            displaced = self.displace(owner)
            if displaced is None:
                return False, None
        holders = self._holders.setdefault(owner, {})
        holders[holder] = None
        self._owners[holder] = owner
        self._moved(owner, len(holders) - 1, len(holders))
        return True, displaced

    def displace(self, owner: str, has: int | None = None) -> Holder | None:
        """Takes the place of the newest holder of the owner with the most, for something else that ``owner`` wants.
        None if that owner would then have fewer than ``owner``, who ``has`` so many things that count like places
        (None: only its places)."""
        if self._largest <= (len(self._holders.get(owner, ())) if has is None else has) + 1:
            return None
        richest = next(iter(self._with_count[self._largest]))
        displaced = next(reversed(self._holders[richest]))
        self.leave(displaced)
        return displaced

    def leave(self, holder: Holder) -> None:
        """Gives the place of ``holder`` back; a holder who has none is ignored."""
        owner = self._owners.pop(holder, None)
        if owner is None:
            return
        holders = self._holders[owner]
        del holders[holder]
        if not holders:
            del self._holders[owner]
        self._moved(owner, len(holders) + 1, len(holders))

    def _moved(self, owner: str, before: int, now: int) -> None:
        if before:
            owners = self._with_count[before]
            del owners[owner]
            if not owners:
                del self._with_count[before]
        if now:
            self._with_count.setdefault(now, {})[owner] = None
        if now > self._largest or (self._largest not in self._with_count):
            self._largest = now
