"""The receipt of a registered user: what it says, and whose it is. ``gateway.auth`` signs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.draw.formulas import HASH_BYTES, SALT_BYTES, entry_of

RECEIPT_TYPE: Final = "queue-receipt+jwt"
"""The ``typ`` in the header of a receipt, so that it is never taken for a pass."""


class Receipt(NamedTuple):
    """One user's entry in the draw of ``room``. ``issued_at``: epoch seconds."""

    room: str
    entry: bytes
    salt: bytes
    issued_at: int

    def claims(self) -> dict[str, object]:
        """The claims to be signed."""
        return {
            "room": self.room,
            "entry": self.entry.hex(),
            "salt": self.salt.hex(),
            "iat": self.issued_at,
        }

    def is_of(self, user: str) -> bool:
        """Whether the entry is that of ``user``."""
        return entry_of(self.room, user, self.salt) == self.entry


def receipt_for(room: str, user: str, salt: bytes, issued_at: int) -> Receipt:
    """The receipt for ``user``, whose salt is ``salt``. Raises ValueError: see ``entry_of``."""
    return Receipt(room, entry_of(room, user, salt), salt, issued_at)


def parse_receipt(claims: Mapping[str, Any]) -> Receipt:
    """The receipt with these claims; others beside them do not matter. Raises ValueError with the first fault."""
    room, issued_at = claims.get("room"), claims.get("iat")
    if not isinstance(room, str) or "\0" in room:
        raise ValueError("room is no name of a room")
    if not isinstance(issued_at, int) or isinstance(issued_at, bool):
        raise ValueError("iat is no whole number")
    return Receipt(
        room,
        parse_hex("entry", claims.get("entry"), HASH_BYTES),
        parse_hex("salt", claims.get("salt"), SALT_BYTES),
        issued_at,
    )


def parse_hex(name: str, value: object, length: int) -> bytes:
    """The ``length`` bytes in ``value``, a text in lower-case hex. Raises ValueError that names ``name``."""
    if not isinstance(value, str) or len(value) != 2 * length or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"{name} is not {length} bytes in lower-case hex")
    return bytes.fromhex(value)
