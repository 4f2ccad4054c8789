"""The auth server's keys, kept at hand: fetched in the background, once however many ask."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.errors import AuthUnavailable, TokenInvalid

from .key_set import ALGORITHMS, Key, LeftOut, parse_key_set

Fetch = Callable[[str], Awaitable[bytes]]
"""URI → document. Raises FetchFailed or OSError while the auth server is away; see ``fetch.http_fetch``."""

_log = logging.getLogger(__name__)
_MOST_LISTED = 10


class FetchFailed(Exception):
    """The auth server answered, but not with a key set. The text is for the log."""


def reason_of(error: Exception) -> str:
    """Why a fetch failed, for the log. Not the error's own text, which may quote an address with a password in it."""
    name = type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    return f"{os.strerror(number)} ({name})" if number is not None and number > 0 else name


@dataclass(frozen=True, slots=True)
class JwksTiming:
    """How often keys are fetched, all in seconds.

    ``refresh``: while all is well. ``unknown_kid``: the least time between two fetches that tokens
    with an unknown kid set off. ``fetch``: the longest one fetch may take. ``first_retry`` doubles with
    each failure, up to ``retry_without_keys`` (nobody can get in until then) or ``retry_with_keys``.
    """

    refresh: float = 300.0
    unknown_kid: float = 5.0
    fetch: float = 5.0
    first_retry: float = 0.25
    retry_without_keys: float = 5.0
    retry_with_keys: float = 60.0


@dataclass(frozen=True, slots=True)
class JwksStatus:
    """For health: ``age`` is seconds since the keys were last confirmed (``None`` = never), ``failures``
    counts the fetches without one usable key since then, ``skipped`` the last document's unusable entries."""

    kids: tuple[str, ...]
    skipped: int
    age: float | None
    failures: int


class Jwks:
    """Verification keys by ``kid``, for the fixed ``algorithms`` (a subset of ``key_set.ALGORITHMS``).

    Nothing is fetched outside ``running()``. What the auth server says replaces what it said before, also
    when that withdraws every key; while it is away or answers with something else, the keys stay.
    ``generation`` grows with each change of the set.
    """

    def __init__(
        self,
        uri: str,
        algorithms: Sequence[str],
        fetch: Fetch,
        clock: Callable[[], float] = time.monotonic,
        timing: JwksTiming | None = None,
        on_fetch: Callable[[bool], None] = lambda ok: None,
    ) -> None:
        """``on_fetch`` hears of each fetch whether it brought usable keys."""
        self._fetch = fetch
        self._clock = clock
        self._timing = timing or JwksTiming()
        self._on_fetch = on_fetch
        self._keys: Mapping[str, Mapping[str, Key]] = {}
        self._left_out: tuple[LeftOut, ...] = ()
        self._skipped = 0
        self._failures = 0
        self._confirmed_at: float | None = None
        self._asked_at: float | None = None
        self._running = False
        self._fetching = False
        self._wanted = asyncio.Event()
        self._round_over = asyncio.Event()
        self.generation = 0
        self.aim(uri, algorithms)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The allow-list."""
        return self._algorithms

    @property
    def keys_known(self) -> bool:
        """Whether there is any key to check a token with."""
        return bool(self._keys)

    def status(self) -> JwksStatus:
        """The present state, for health and metrics."""
        age = None if self._confirmed_at is None else self._clock() - self._confirmed_at
        return JwksStatus(tuple(self._keys), self._skipped, age, self._failures)

    def aim(self, uri: str, algorithms: Sequence[str]) -> None:
        """Take the keys from there from now on, for these algorithms. Those at hand stay until it has answered.

        Raises ValueError as the constructor does.
        """
        if not algorithms or not ALGORITHMS.issuperset(algorithms):
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        self._uri = uri
        self._algorithms = tuple(algorithms)
        self._wanted.set()

    def known_key(self, kid: str, algorithm: str) -> Key | None:
        """The key if it is at hand; never fetches. ``TokenInvalid`` if that kid is for other algorithms."""
        by_algorithm = self._keys.get(kid)
        if by_algorithm is None:
            return None
        key = by_algorithm.get(algorithm)
        if key is None:
            raise TokenInvalid("the key is for another algorithm")
        return key

    async def key(self, kid: str, alg: str) -> Key:
        """The key with this ``kid``, fetching the set at most once (shared by all who ask) if it is unknown.

        Raises ``TokenInvalid`` if there is no such key or it is for another algorithm,
        ``AuthUnavailable`` if there are no keys at all.
        """
        key = self.known_key(kid, alg)
        if key is None and self._may_fetch():
            await self._round_over.wait()
            key = self.known_key(kid, alg)
        if key is not None:
            return key
        raise TokenInvalid("unknown kid") if self._keys else AuthUnavailable()

    def _may_fetch(self) -> bool:
        """Whether a fetch is under way that the caller can wait for; sets one off if it is time for one."""
        if not self._running:
            return False
        if self._fetching or self._wanted.is_set():
            return True
        now = self._clock()
        if self._asked_at is not None and now - self._asked_at < self._timing.unknown_kid:
            return False
        self._asked_at = now
        self._wanted.set()
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Jwks]:
        """Keep the keys fresh while inside. Does not wait for the first fetch, and does not need it."""
        self._running = self._fetching = True
        task = asyncio.create_task(self._refresh_for_ever(), name="jwks")
        try:
            yield self
        finally:
            self._running = self._fetching = False
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._end_round()

    async def _refresh_for_ever(self) -> None:
        # The only place that fetches: single flight needs no lock, and a cancelled asker cancels only itself.
        while True:
            self._wanted.clear()
            self._fetching = True
            await self._refresh()
            self._fetching = False
            self._end_round()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wanted.wait()

    def _end_round(self) -> None:
        self._round_over.set()
        self._round_over = asyncio.Event()

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(self._timing.fetch):
                document = await self._fetch(self._uri)
            # Some tens of keys take tens of milliseconds.
            key_set = await asyncio.to_thread(parse_key_set, document, self._algorithms)
        except FetchFailed as error:
            self._failed(str(error))
            return
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: the document is no key set
            self._failed(reason_of(error))
            return
        except Exception as error:
            # A fault of the gateway or of a library, not of the auth server. The keys at hand stay good all the same.
            if not self._failures:
                _log.exception("the key set could not be read")
            self._failed(f"a fault of the gateway itself ({type(error).__name__})")
            return
        if key_set.left_out != self._left_out:
            self._tell_left_out(key_set.left_out)
        self._left_out = key_set.left_out
        self._skipped = key_set.skipped
        if key_set.keys != self._keys:
            self._keys = key_set.keys
            self.generation += 1
            _log.info("keys are now: %s", ", ".join(map(repr, self._keys)) or "none")
        if not self._keys:
            shown = _listed(self._left_out)
            self._failed(f"no usable key in the set: {shown}" if shown else "no key in the set")
            return
        if self._failures:
            _log.info("keys from %s again after %d failures", self._shown_uri(), self._failures)
        self._failures = 0
        self._confirmed_at = self._clock()
        self._on_fetch(True)

    def _tell_left_out(self, left_out: Sequence[LeftOut]) -> None:
        """Names them with their reasons: faults as a warning, what is for other purposes at debug level."""
        for level, harmless in ((logging.WARNING, False), (logging.DEBUG, True)):
            named = [each for each in left_out if each.harmless is harmless]
            if named:
                _log.log(level, "keys of the key set that are not used: %s", _listed(named))

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._on_fetch(False)
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        meaning = (
            "those at hand stay good" if self._keys else "calls with a token get 503 until there are some"
        )
        _log.log(level, "no keys from %s: %s; %s (retrying quietly)", self._shown_uri(), why, meaning)

    def _pause(self) -> float:
        """Seconds until the next fetch, with jitter so that many instances don't fetch in step."""
        timing = self._timing
        pause = timing.refresh
        if self._failures:
            longest = timing.retry_with_keys if self._keys else timing.retry_without_keys
            # Bounded exponent: an outage of days must not overflow a float.
            pause = min(longest, timing.first_retry * 2 ** min(self._failures - 1, 20))
        return pause * random.uniform(0.9, 1.0)

    def _shown_uri(self) -> str:
        parts = urlsplit(self._uri)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _listed(left_out: Sequence[LeftOut]) -> str:
    shown = ", ".join(map(str, left_out[:_MOST_LISTED]))
    more = len(left_out) - _MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
