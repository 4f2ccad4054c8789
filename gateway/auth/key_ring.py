"""The keys of this gateway's passes and receipts: which one signs now, and which ones everyone is told."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.auth.signing import SigningKey, UnusableKey

log = logging.getLogger(__name__)

MAX_PUBLISHED: Final = 128
OVERTIME_SECONDS: Final = 30.0
"""How long a key may sign beyond its turn: the turn may have been extended, and this instance not know it yet."""


class KeyTurn(NamedTuple):
    """A private key, and when it signs. ``kept_until``: it is published until then. In epoch seconds by the shared
    clock."""

    id: str
    private: str
    signs_from: float
    signs_until: float
    kept_until: float


class _Held(NamedTuple):
    key: SigningKey
    turn: KeyTurn


class KeyRing:
    """Holds the keys that ``update`` brought last. All times are of the clock of ``update``, which instances share, so
    their own clocks do not matter. ``clock``: seconds of any steady clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offset = 0.0
        self._held: dict[str, _Held] = {}
        self._order: tuple[_Held, ...] = ()
        self._unusable: set[str] = set()
        self._document: bytes | None = None
        self._document_until = 0.0

    @property
    def now(self) -> float:
        """The time of the shared clock, in epoch seconds. Of use after the first ``update`` only."""
        return self._clock() + self._offset

    @property
    def known(self) -> bool:
        """Whether ``update`` has brought keys."""
        return bool(self._order)

    def update(self, now: float, turns: Sequence[KeyTurn]) -> None:
        """Takes over the shared keys, as they are at ``now``. A key that is no longer among them, as after a loss of
        data, does not sign any more, but stays published until its end."""
        self._offset = now - self._clock()
        order = []
        for turn in turns:
            known = self._held.get(turn.id)
            try:
                key = known.key if known and known.turn.private == turn.private else SigningKey(turn.private)
            except UnusableKey as error:
                if turn.id not in self._unusable:
                    self._unusable = {turn.id, *list(self._unusable)[:MAX_PUBLISHED]}
                    log.error("the signing key %.64r in Redis is not used: %s", turn.id, error)
                continue
            order.append(_Held(key, turn._replace(id=key.id)))
        self._order = tuple(order)
        fresh = {held.key.id: held for held in order}
        lost = {
            name: held
            for name, held in self._held.items()
            if name not in fresh and held.turn.kept_until > now
        }
        self._held = {**lost, **fresh}
        self._document = None

    def sign(self, typ: str, claims: Mapping[str, Any]) -> str | None:
        """``claims`` as a compact JWS of the kind ``typ``; None if no key may sign now."""
        key = self.signing_key()
        return None if key is None else key.sign(typ, claims)

    def signing_key(self) -> SigningKey | None:
        """The key whose turn it is. None before the first ``update``, and when the keys have been out of reach for so
        long that the last known turn is over."""
        now = self.now
        chosen = None
        for held in self._order:
            if held.turn.signs_from <= now or chosen is None:
                chosen = held
        if chosen is None or now >= chosen.turn.signs_until + OVERTIME_SECONDS:
            return None
        return chosen.key

    def seconds_to_next_turn(self) -> float | None:
        """In how many seconds another key begins to sign; None if none is known."""
        now = self.now
        ahead = [held.turn.signs_from - now for held in self._order if held.turn.signs_from > now]
        return min(ahead, default=None)

    def document(self) -> bytes:
        """The JWKS of all keys that sign, will sign next, or have signed what may still be valid."""
        now = self.now
        if self._document is None or now >= self._document_until:
            self._held = {name: held for name, held in self._held.items() if held.turn.kept_until > now}
            published = sorted(self._held.values(), key=lambda held: held.turn.signs_from)[-MAX_PUBLISHED:]
            self._document_until = min((held.turn.kept_until for held in published), default=now)
            keys = [held.key.public_jwk for held in published]
            self._document = json.dumps({"keys": keys}, separators=(",", ":")).encode()
        return self._document
