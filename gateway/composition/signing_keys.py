"""The keys for passes and receipts, shared with the other instances through Redis and kept up to date."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from gateway.auth.key_ring import KeyRing, KeyTurn
from gateway.auth.passes import PASS_SECONDS
from gateway.auth.signing import SigningKey, generate_private_key
from gateway.background import end_task
from gateway.errors import QueueUnavailable
from gateway.settings.model import Settings
from gateway.waiting_room.redis.connection import CallObserver, Redis
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.signing_keys import SigningKeyStore, StoredKeys

log = logging.getLogger(__name__)

_MARGIN_SECONDS: Final = 60.0
"""How much longer than its passes a key is kept: for clocks that differ, and for the overtime of a key."""
_LOOK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = (1.0, 15.0)


def keep_seconds(turn: float) -> float:
    """How long a key is kept after it has signed: until its passes have ended, and one turn at least, so that a receipt
    can be checked for as long as the next key signs."""
    return max(turn, PASS_SECONDS) + _MARGIN_SECONDS


@contextlib.asynccontextmanager
async def signing_keys_of(
    ring: KeyRing, redis: Redis, settings: Settings, observe: CallObserver, *, needed: bool = False
) -> AsyncIterator[SigningKeys]:
    """The keys of this gateway, kept up to date in ``ring`` until the block ends: if they are ``needed`` or passes are
    on, from now on, else from the first ``need`` on."""
    turn = float(settings.pass_rotate_seconds)
    store = SigningKeyStore(
        redis,
        load_all(),
        settings.redis_key_prefix,
        turn=turn,
        keep=keep_seconds(turn),
        observe=observe,
    )
    async with SigningKeys(ring, store, turn, settings.redis_timeout_seconds).running() as keys:
        if settings.pass_ or needed:
            keys.need()
        yield keys


class SigningKeys:
    """Keeps ``ring`` up to date inside ``running()``, from the first ``need`` on. Without a need nothing is asked of
    Redis and no key is made. ``turn``: how long a key signs, in seconds."""

    def __init__(self, ring: KeyRing, store: SigningKeyStore, turn: float, timeout: float) -> None:
        self.ring = ring
        self._store = store
        self._turn = turn
        self._timeout = timeout
        self._needed = asyncio.Event()
        self._tried = asyncio.Event()
        self._away = ""

    def need(self) -> None:
        """From now on the keys are kept up to date."""
        self._needed.set()

    async def document(self) -> bytes:
        """The JWKS for everyone. Raises QueueUnavailable if no key is known yet."""
        self.need()
        if not self.ring.known:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await self._tried.wait()
        if not self.ring.known:
            raise QueueUnavailable(self._away or "the signing keys are not known yet")
        return self.ring.document()

    def sign(self, typ: str, claims: Callable[[float], Mapping[str, Any]]) -> str | None:
        """What ``claims`` returns for the time now, in epoch seconds by the keys' clock, as a compact JWS of the kind
        ``typ``; None if no key may sign now. From the first call on the keys are kept up to date."""
        self.need()
        return self.ring.sign(typ, claims(self.ring.now)) if self.ring.known else None

    async def refresh(self) -> None:
        """Reads the keys, and makes those that are missing. Raises QueueUnavailable."""
        stored = await self._store.load()
        if stored.wanted:
            fresh = [generate_private_key() for _ in range(stored.wanted)]
            stored = await self._store.load([(SigningKey(private).id, private) for private in fresh])
        self._take(stored)

    def _take(self, stored: StoredKeys) -> None:
        keep = keep_seconds(self._turn)
        turns = [KeyTurn(*key, key.signs_until + keep) for key in stored.keys]
        self.ring.update(stored.now, turns)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SigningKeys]:
        """Keeps the keys up to date until the block ends."""
        task = asyncio.create_task(self._keep(), name="signing keys")
        try:
            yield self
        finally:
            await end_task(task)
            await self._store.close()

    async def _keep(self) -> None:
        await self._needed.wait()
        while True:
            pause = await self._look()
            await asyncio.sleep(pause)

    async def _look(self) -> float:
        """Looks once; returns in how many seconds to look again."""
        try:
            await self.refresh()
        except QueueUnavailable as error:
            if not self._away:
                log.warning("the signing keys can't be read, those known stay in use: %s", error.reason)
            self._away = error.reason
            return random.uniform(*_RETRY_SECONDS) if self.ring.known else _RETRY_SECONDS[0]
        except Exception:
            log.exception("the signing keys were not brought up to date; those known stay in use")
            return _RETRY_SECONDS[1]
        finally:
            self._tried.set()
        if self._away:
            self._away = ""
            log.info("the signing keys can be read again")
        return self._pause()

    def _pause(self) -> float:
        """Until shortly after the next key's turn begins, when its successor is to be made; at most a quarter of a
        turn, so that a new key is known here long before it signs."""
        pause = min(_LOOK_SECONDS, self._turn / 4)
        ahead = self.ring.seconds_to_next_turn()
        if ahead is not None:
            pause = min(pause, ahead + 0.01)
        return max(pause, 0.01) * random.uniform(1.0, 1.1)
