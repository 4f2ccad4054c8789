"""Remembers kids that tokens name and no key has, and whether a fetch has begun since. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

MAX_UNKNOWN_KIDS: Final = 1024
MAX_WITHDRAWN_KIDS: Final = 256


class UnknownKids:
    """Distinguishes a key that may have been added since the last fetch from one that does not exist.

    Fetches are numbered in the order in which they begin. Only a successful fetch that begins after a kid was first
    looked up shows that the key does not exist. Memory is bounded. A kid that was evicted counts as new, so forged
    kids never cause another kid to be refused.
    """

    def __init__(self) -> None:
        self._since: OrderedDict[str, int] = OrderedDict()
        """Kid → the number of the newest fetch when it was first looked up."""
        self._withdrawn: OrderedDict[str, None] = OrderedDict()
        """Kids of keys that the auth server has withdrawn. Forged kids do not evict these."""

    def since(self, kid: str, fetch: int) -> int:
        """The newest fetch when ``kid`` was first looked up; -1 if a fetch has shown that its key was withdrawn.
        ``fetch`` is the number of the newest fetch now."""
        if kid in self._withdrawn:
            return -1
        since = self._since.setdefault(kid, fetch)
        self._since.move_to_end(kid)
        if len(self._since) > MAX_UNKNOWN_KIDS:
            self._since.popitem(last=False)
        return since

    def withdraw(self, kids: Iterable[str]) -> None:
        """Note that the auth server has withdrawn these keys."""
        for kid in kids:
            self._withdrawn[kid] = None
            self._withdrawn.move_to_end(kid)
        while len(self._withdrawn) > MAX_WITHDRAWN_KIDS:
            self._withdrawn.popitem(last=False)

    def found(self, kids: Iterable[str]) -> None:
        """Note that keys with these kids exist: forget earlier lookups and withdrawals."""
        for kid in kids:
            self._since.pop(kid, None)
            self._withdrawn.pop(kid, None)

    def clear(self) -> None:
        """Forget everything, because the key set's source has changed."""
        self._since.clear()
        self._withdrawn.clear()
