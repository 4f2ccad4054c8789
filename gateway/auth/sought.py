"""Kids that tokens name and no key has: whether the auth server was asked since. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

MOST_SOUGHT: Final = 1024
MOST_WITHDRAWN: Final = 256


class Sought:
    """Tells a key that may have been added since the last fetch from one that does not exist.

    Fetches are numbered in the order of their beginnings. Only one that begins after a kid was first asked for, and
    that succeeds, shows that there is no such key. Memory is bounded. A kid that is forgotten counts as a new one, so
    forged kids never have another kid refused.
    """

    def __init__(self) -> None:
        self._since: OrderedDict[str, int] = OrderedDict()
        """Kid → the newest fetch when it was first asked for."""
        self._withdrawn: OrderedDict[str, None] = OrderedDict()
        """Kids of keys that the auth server had and has no more. Forged kids do not push these out."""

    def since(self, kid: str, fetch: int) -> int:
        """The newest fetch when ``kid`` was first asked for; -1 if a fetch has shown that its key was withdrawn.
        ``fetch`` is the newest one now."""
        if kid in self._withdrawn:
            return -1
        since = self._since.setdefault(kid, fetch)
        self._since.move_to_end(kid)
        if len(self._since) > MOST_SOUGHT:
            self._since.popitem(last=False)
        return since

    def withdraw(self, kids: Iterable[str]) -> None:
        """The auth server has no such keys any more."""
        for kid in kids:
            self._withdrawn[kid] = None
            self._withdrawn.move_to_end(kid)
        while len(self._withdrawn) > MOST_WITHDRAWN:
            self._withdrawn.popitem(last=False)

    def found(self, kids: Iterable[str]) -> None:
        """There are keys of these names. If they are withdrawn later, that is what counts."""
        for kid in kids:
            self._since.pop(kid, None)
            self._withdrawn.pop(kid, None)

    def clear(self) -> None:
        """What was found out is about another key set."""
        self._since.clear()
        self._withdrawn.clear()
