"""Which instance of a service gets the next request."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from gateway.errors import NoInstance
from gateway.proxy.upstream import UpstreamBase

# Long enough for a restarting service not to be asked by every request, short enough to be found again.
SET_ASIDE_SECONDS = 5.0


class InstanceSource(Protocol):
    """Where more instances come from, beside those written down. Never waits and never raises: it
    answers from what it last learned."""

    def instances(self, service: str) -> Sequence[UpstreamBase]:
        """The instances of ``service`` (in lower case), possibly none."""
        ...


class Instances:
    """Instances per service, taken in turn; names count without regard to case.

    ``static`` maps service names to base URLs; ``source`` comes on top. ``clock`` gives seconds.
    """

    def __init__(
        self,
        static: Mapping[str, Iterable[str]] | None = None,
        source: InstanceSource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._clock = clock
        self._static: dict[str, tuple[UpstreamBase, ...]] = {}
        self._turns: dict[str, int] = {}
        self._aside_until: dict[UpstreamBase, float] = {}
        self.replace(static or {})

    def replace(self, static: Mapping[str, Iterable[str]]) -> None:
        """Swap what is written down, all at once. Raises ValueError for a bad base URL, changing nothing."""
        self._static = {
            service.lower(): tuple(dict.fromkeys(UpstreamBase.parse(url) for url in urls))
            for service, urls in static.items()
        }
        self._turns.clear()

    def known(self, service: str) -> tuple[UpstreamBase, ...]:
        """All instances of ``service``, each once, those set aside included."""
        service = service.lower()
        static = self._static.get(service, ())
        if self._source is None:
            return static
        return tuple(dict.fromkeys((*static, *self._source.instances(service))))

    def pick(self, service: str, tried: Collection[UpstreamBase] = ()) -> UpstreamBase:
        """The next instance in turn that is neither set aside nor in ``tried``.

        If all that were not tried are set aside, the one whose time is over first: asking it costs
        little, and it may be back. Raises NoInstance if there is none left to try.
        """
        bases = self.known(service)
        if tried:
            bases = tuple(base for base in bases if base not in tried)
        if not bases:
            raise NoInstance(service)
        if len(bases) == 1:
            return bases[0]
        service = service.lower()
        turn = self._turns.get(service, 0)
        self._turns[service] = turn + 1
        if not self._aside_until:
            return bases[turn % len(bases)]
        now = self._clock()
        aside = self._aside_until
        good = [base for base in bases if aside.get(base, 0.0) <= now]
        return good[turn % len(good)] if good else min(bases, key=lambda base: aside[base])

    def set_aside(self, base: UpstreamBase) -> None:
        """Leave ``base`` out for a few seconds: it refused a connection."""
        now = self._clock()
        # Forgetting what is over bounds this by the instances that failed within a few seconds.
        self._aside_until = {other: until for other, until in self._aside_until.items() if until > now}
        self._aside_until[base] = now + SET_ASIDE_SECONDS
