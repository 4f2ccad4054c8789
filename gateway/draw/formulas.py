"""The four formulas of the draw. All values are bytes; published files and receipts have them in lower-case hex."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
SALT_BYTES: Final = 16
SECRET_BYTES: Final = 32


def commitment_of(secret: bytes) -> bytes:
    """What the room publishes before anyone registers: ``SHA-256(secret)``. ``secret``: 32 random bytes."""
    _check_length("secret", secret, SECRET_BYTES)
    return sha256(secret).digest()


def salt_of(key: bytes, user: str) -> bytes:
    """The salt of one user: the first 16 bytes of ``HMAC-SHA256(key, user)``.

    ``key``: 32 random bytes of one pre-queue, which are never published. So salts are as good as random to everyone
    without the key, and need no memory.
    """
    return hmac.digest(key, user.encode(), sha256)[:SALT_BYTES]


def entry_of(room: str, user: str, salt: bytes) -> bytes:
    """The entry of one registered user: ``SHA-256(room NUL user NUL salt)``. ``salt``: 16 random bytes.

    Raises ValueError for a room with a NUL, which could be read as another room and user.
    """
    _check_length("salt", salt, SALT_BYTES)
    if "\0" in room:
        raise ValueError("the name of a room has no NUL")
    return sha256(b"\0".join((room.encode(), user.encode(), salt))).digest()


def seed_of(secret: bytes, root: bytes, beacon: str = "") -> bytes:
    """What decides the order: ``HMAC-SHA256(key = secret, message = root ‖ beacon)``. ``beacon``: the public value,
    empty in a draw without one."""
    _check_length("secret", secret, SECRET_BYTES)
    _check_length("root", root, HASH_BYTES)
    return hmac.digest(secret, root + beacon.encode(), sha256)


def order_key(seed: bytes, entry: bytes) -> bytes:
    """Entries are ranked in ascending order of this: ``HMAC-SHA256(key = seed, message = entry)``."""
    return hmac.digest(seed, entry, sha256)


def _check_length(name: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise ValueError(f"the {name} has {len(value)} bytes, not {length}")
