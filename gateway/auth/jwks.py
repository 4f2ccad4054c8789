"""The auth server's keys in memory. A background task fetches them; concurrent requests share one fetch."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.auth.discovery import Discovery, Fetch, FetchFailed, IssuerLocation, reason_of
from gateway.auth.key_set import MAX_KID_CHARS, Key, KeySet, NoKeySet, UnusedEntry, parse_key_set
from gateway.auth.signatures import ALGORITHMS
from gateway.auth.unknown_kids import UnknownKids
from gateway.background import end_task
from gateway.errors import AuthUnavailable, TokenInvalid

_log = logging.getLogger(__name__)
_MAX_LISTED = 10
_NO_KEYS = KeySet({}, {}, (), 0)


@dataclass(frozen=True, slots=True)
class JwksTiming:
    """How often keys are fetched, all in seconds.

    ``refresh``: the interval while fetches succeed. ``unknown_kid``: the least time between two fetches triggered by
    tokens with an unknown kid. ``fetch``: the time limit for one document. ``first_retry`` doubles with each failure,
    up to ``retry_with_keys``, or up to ``retry_without_keys`` while there are no keys and no user can get in.
    """

    refresh: float = 300.0
    unknown_kid: float = 5.0
    fetch: float = 5.0
    first_retry: float = 0.25
    retry_without_keys: float = 5.0
    retry_with_keys: float = 60.0


@dataclass(frozen=True, slots=True)
class JwksStatus:
    """The state for health. ``keys``: number of keys. ``age``: seconds since a fetch last confirmed them (``None``:
    never). ``failures``: fetches since then that brought no usable key. ``skipped``: unusable entries in the last
    document. ``discovery_error``: why the keys of a discovered issuer were never read; None if they were, or if the
    settings name the key set's address."""

    keys: int
    skipped: int
    age: float | None
    failures: int
    discovery_error: str | None = None


class Jwks:
    """Verification keys by ``kid``, for the fixed ``algorithms`` (a subset of ``signatures.ALGORITHMS``).

    ``source`` is the address of the key set ("": none), or the issuer whose document names it.
    Nothing is fetched outside ``running()``. A fetched key set replaces the one before, even if that withdraws every
    key. While the auth server is unreachable or returns something else, the keys stay.
    ``generation`` grows with each change of the set.
    """

    def __init__(
        self,
        source: str | IssuerLocation,
        algorithms: Sequence[str],
        fetch: Fetch,
        clock: Callable[[], float] = time.monotonic,
        timing: JwksTiming | None = None,
        on_fetch: Callable[[bool], None] = lambda ok: None,
    ) -> None:
        """``on_fetch`` is called after each fetch with whether it brought usable keys."""
        self._fetch = fetch
        self._clock = clock
        self._timing = timing or JwksTiming()
        self._on_fetch = on_fetch
        self._key_set = _NO_KEYS
        self._keys: Mapping[str, Mapping[str, Key]] = {}
        self._failures = 0
        self._reason = "not yet asked"
        self._confirmed_at: float | None = None
        self._requested_at: float | None = None
        self._running = False
        self._fetching = False
        self._fetches = 0
        """How many fetches have begun."""
        self._succeeded = 0
        """The number of the last fetch that brought usable keys."""
        self._unknown_kids = UnknownKids()
        self._fetch_requested = asyncio.Event()
        self._fetch_done = asyncio.Event()
        self.generation = 0
        self._source: str | IssuerLocation | None = None
        self._discovery: Discovery | None = None
        self.set_source(source, algorithms)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that tokens may use."""
        return self._algorithms

    @property
    def keys_known(self) -> bool:
        """Whether there is any key to verify a token with."""
        return bool(self._key_set.fitting)

    def status(self) -> JwksStatus:
        """The present state, for health and metrics."""
        age = None if self._confirmed_at is None else self._clock() - self._confirmed_at
        discovery_error = None
        if self._discovery is not None and self._confirmed_at is None:
            discovery_error = f"no keys from {self._source}: {self._reason}"
        return JwksStatus(_count(self._key_set), self._key_set.skipped, age, self._failures, discovery_error)

    def set_source(self, source: str | IssuerLocation, algorithms: Sequence[str]) -> None:
        """Fetch the keys from ``source`` from now on, for these algorithms.

        If both the old and the new source are addresses, the present keys stay until the new address has answered.
        They are dropped at once if the old or the new source is an issuer, because tokens signed with another party's
        keys would be accepted. They are also dropped if there is no source any more. Raises ValueError as the
        constructor does.
        """
        if not algorithms or not ALGORITHMS.issuperset(algorithms):
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        before = self._source
        if source != before:
            self._source = source
            self._failures = 0
            self._discovery = Discovery(source, self._fetch) if isinstance(source, IssuerLocation) else None
            if not source or isinstance(source, IssuerLocation) or isinstance(before, IssuerLocation):
                self._confirmed_at = None
                self._reason = "not yet asked"
                self._use(_NO_KEYS)
            self._unknown_kids.clear()
        self._algorithms = tuple(algorithms)
        self._fetch_requested.set()

    def known_key(self, kid: str | None, algorithm: str) -> Key | None:
        """The key if it is in memory; never fetches. Without a ``kid`` it is the only key that fits the algorithm.

        Raises ``TokenInvalid`` if the ``kid`` is for other algorithms, or if there is no ``kid`` and several keys fit.
        """
        if kid is None:
            fitting = self._key_set.fitting.get(algorithm, ())
            if len(fitting) > 1:
                raise TokenInvalid("no kid, and several keys fit")
            return fitting[0] if fitting else None
        by_algorithm = self._keys.get(kid)
        if by_algorithm is None:
            return None
        key = by_algorithm.get(algorithm)
        if key is None:
            raise TokenInvalid("the key is for another algorithm")
        return key

    async def key(self, kid: str | None, alg: str) -> Key:
        """The key with this ``kid``. If it is unknown, the set is fetched, once for all concurrent callers. A fetch
        under way may have begun before the key was added; then the caller waits for the next one as well.

        Raises ``TokenInvalid`` if there is no such key or it is for another algorithm. Raises ``AuthUnavailable`` if
        there are no keys at all, or if it is not yet known whether the key exists, because no fetch has succeeded that
        began after the ``kid`` was first looked up. A 401 would log out users whose key is only too new.
        """
        key = self.known_key(kid, alg)
        if key is None and kid is not None and len(kid) > MAX_KID_CHARS:
            raise TokenInvalid("unknown kid")
        if key is None:
            since = self._fetches if kid is None else self._unknown_kids.since(kid, self._fetches)
            if self._request_fetch():
                await self._fetch_done.wait()
                key = self.known_key(kid, alg)
                if key is None and self.keys_known and self._fetches <= since and self._request_fetch():
                    await self._fetch_done.wait()
                    key = self.known_key(kid, alg)
        if key is not None:
            return key
        if not self.keys_known or self._may_exist(None if kid is None else since):
            raise AuthUnavailable
        raise TokenInvalid("no kid, and no key fits" if kid is None else "unknown kid")

    def _may_exist(self, since: int | None) -> bool:
        """Whether the auth server may have a key by now that is not in memory. ``since`` is the number of the newest
        fetch when the key was first looked up. None: the token has no kid, so the outcome of the last fetch decides."""
        if not self._running:
            return False  # no fetch will follow
        return bool(self._failures) if since is None else self._succeeded <= since

    async def successor(self, tried: Key) -> Key | None:
        """The key that has replaced ``tried`` for tokens without a kid; None if there is no other one.

        A token without a kid can't name an unknown key, so a signature that does not fit is the only sign of a key
        rotation. Fetches at most as often as unknown kids do. Raises ``TokenInvalid`` if several keys fit, and
        ``AuthUnavailable`` if there is no other key and the auth server could not be reached.
        """
        if self._request_fetch():
            await self._fetch_done.wait()
        key = self.known_key(None, tried.algorithm)
        if key is not None and key.material != tried.material:
            return key
        if self._may_exist(None):
            raise AuthUnavailable
        return None

    def _request_fetch(self) -> bool:
        """Whether a fetch is under way that the caller can wait for. Starts one if enough time has passed."""
        if not self._running:
            return False
        if self._fetching or self._fetch_requested.is_set():
            return True
        now = self._clock()
        if self._requested_at is not None and now - self._requested_at < self._timing.unknown_kid:
            return False
        self._requested_at = now
        self._fetch_requested.set()
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Jwks]:
        """Keep the keys fresh inside the ``async with`` block. Entering it does not wait for the first fetch."""
        self._running = self._fetching = True
        task = asyncio.create_task(self._refresh_for_ever(), name="jwks")
        try:
            yield self
        finally:
            self._running = self._fetching = False
            await end_task(task)
            self._end_fetch()

    async def _refresh_for_ever(self) -> None:
        # The only place that fetches: so one fetch at a time needs no lock, and a cancelled caller cancels only itself.
        while True:
            self._fetch_requested.clear()
            self._fetching = True
            self._fetches += 1
            await self._refresh()
            self._fetching = False
            self._end_fetch()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._next_delay()):
                    await self._fetch_requested.wait()

    def _end_fetch(self) -> None:
        self._fetch_done.set()
        self._fetch_done = asyncio.Event()

    async def _refresh(self) -> None:
        source, algorithms = self._source, self._algorithms
        why = ""
        try:
            key_set = await self._read(algorithms)
        except FetchFailed as error:
            why = str(error)
        except NoKeySet as error:
            why = f"the document is no key set: {error}"
        except (OSError, TimeoutError) as error:
            why = reason_of(error)
        except Exception as error:
            # A bug of the gateway or of a library, not of the auth server. The keys in memory stay valid.
            if not self._failures:
                _log.exception("the key set could not be read")
            why = f"a fault of the gateway itself ({type(error).__name__})"
        if source != self._source:
            return  # the source was changed during the fetch; a fetch from the new one is due already
        if why:
            self._failed(why)
            return
        if key_set.unused_entries != self._key_set.unused_entries:
            self._log_unused(key_set.unused_entries)
        self._use(key_set)
        if not self.keys_known:
            shown = _list_unused(key_set.unused_entries)
            self._failed(f"no usable key in the set: {shown}" if shown else "no key in the set")
            return
        if self._failures:
            _log.info("keys from %s again after %d failures", self._source_name(), self._failures)
        self._failures = 0
        self._succeeded = self._fetches
        self._confirmed_at = self._clock()
        self._on_fetch(True)

    async def _read(self, algorithms: Sequence[str]) -> KeySet:
        limit = self._timing.fetch
        if not self._source:
            raise FetchFailed("no address is set: set JWT_ISSUER or JWT_JWKS_URI")
        uri = await self._discovery.key_set(limit) if self._discovery is not None else str(self._source)
        async with asyncio.timeout(limit):
            document = await self._fetch(uri)
        # In a thread, because some tens of keys take tens of milliseconds.
        return await asyncio.to_thread(parse_key_set, document, algorithms)

    def _use(self, key_set: KeySet) -> None:
        self._unknown_kids.found(key_set.keys)
        self._unknown_kids.withdraw(self._keys.keys() - key_set.keys.keys())
        changed = (key_set.keys, key_set.fitting) != (self._key_set.keys, self._key_set.fitting)
        self._key_set, self._keys = key_set, key_set.keys
        if changed:
            self.generation += 1
            named = sorted({key.kid for each in key_set.fitting.values() for key in each} | set(key_set.keys))
            shown = ", ".join(repr(kid) if kid else "one without a kid" for kid in named)
            _log.info("keys are now: %s", shown or "none")

    def _log_unused(self, unused_entries: Sequence[UnusedEntry]) -> None:
        """Log the unused entries with reasons: faulty ones as a warning, keys for other purposes at debug level."""
        for level, harmless in ((logging.WARNING, False), (logging.DEBUG, True)):
            named = [each for each in unused_entries if each.harmless is harmless]
            if named:
                _log.log(level, "keys of the key set that are not used: %s", _list_unused(named))

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._reason = why
        self._on_fetch(False)
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        meaning = (
            "those at hand stay good"
            if self.keys_known
            else "calls with a token get 503 until there are some"
        )
        _log.log(level, "no keys from %s: %s; %s (retrying quietly)", self._source_name(), why, meaning)

    def _next_delay(self) -> float:
        """Seconds until the next fetch, with jitter so that many instances don't fetch in step."""
        timing = self._timing
        pause = timing.refresh
        if self._failures:
            longest = timing.retry_with_keys if self.keys_known else timing.retry_without_keys
            # Bounded exponent: an outage of days must not overflow a float.
            pause = min(longest, timing.first_retry * 2 ** min(self._failures - 1, 20))
        return pause * random.uniform(0.9, 1.0)

    def _source_name(self) -> str:
        if self._discovery is not None or not self._source:
            return str(self._source or "anywhere")
        parts = urlsplit(str(self._source))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _count(key_set: KeySet) -> int:
    """How many keys there are: each entry that is used for tokens with its kid, or without one."""
    named = {(key.kid, key.material) for each in key_set.keys.values() for key in each.values()}
    return len(named | {(key.kid, key.material) for each in key_set.fitting.values() for key in each})


def _list_unused(unused_entries: Sequence[UnusedEntry]) -> str:
    shown = ", ".join(map(str, unused_entries[:_MAX_LISTED]))
    more = len(unused_entries) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
