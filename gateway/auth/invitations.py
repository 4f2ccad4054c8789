"""Signed invitations: texts with which an operator lets users line up who are not eligible. Pure.

An invitation is 57 bytes in base64url: a random id, how often it may be used, when it expires, whether it is for one
user, and an HMAC-SHA256 over these, the room and that user. So it shows neither room nor user, and is good for no
others.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateway.auth.encoding import decode_base64url
from gateway.auth.mac import hmac_sha256

MAX_USES: Final = 1_000_000
_ID_BYTES: Final = 12
_FIELDS: Final = struct.Struct(">12sIQ?")
_MAC_BYTES: Final = 32
_CHARS: Final = 76
"""The length of the text."""
_DOMAIN: Final = b"waiting-room invitation\0"
"""So that a signature made for something else with the same secret is none of an invitation."""


class Invitation(NamedTuple):
    """An invitation with a good signature. It may have expired, or been used up."""

    id: str
    """In hex."""
    uses: int
    expires_at: int
    """In epoch milliseconds."""


NO_INVITATION: Final = Invitation("", 0, 0)
"""That of a caller who has none: it lets no one in."""


class Invitations:
    """Makes and checks invitations. ``signing_secrets``: the first signs, all verify; none: there are no invitations.

    ``entropy`` returns so many random bytes.
    """

    def __init__(
        self, signing_secrets: Sequence[str] = (), entropy: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._secrets = tuple(secret.encode() for secret in signing_secrets)
        self._entropy = entropy

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def make(self, room: str, *, expires_at: int, user: str | None = None, uses: int = 1) -> str:
        """An invitation into the room, for ``user`` alone or for any ``uses`` users. ``expires_at``: epoch
        milliseconds."""
        fields = _FIELDS.pack(self._entropy(_ID_BYTES), uses, expires_at, user is not None)
        data = fields + _mac(self._secrets[0], fields, room, user)
        return base64.urlsafe_b64encode(data).decode()

    def read(self, text: str, room: str, user: str) -> Invitation | None:
        """The invitation, if it is one into this room and this user may use it; else None."""
        if len(text) != _CHARS or not text.isascii():
            return None
        try:
            data = decode_base64url(text.encode())
        except ValueError:
            return None
        fields, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if len(fields) != _FIELDS.size or fields[-1] > 1:
            return None
        number, uses, expires_at, personal = _FIELDS.unpack(fields)
        named = user if personal else None
        expected = [_mac(secret, fields, room, named) for secret in self._secrets]
        # All are compared, so that the time tells nothing of which one signed.
        if sum([hmac.compare_digest(mac, each) for each in expected]) == 0:
            return None
        return Invitation(number.hex(), uses, expires_at)


def _mac(secret: bytes, fields: bytes, room: str, user: str | None) -> bytes:
    # The fields have a fixed length, and the name of a room has no NUL: no two invitations have the same signed text.
    text = _DOMAIN + fields + room.encode() + b"\0" + (user or "").encode("utf-8", "surrogateescape")
    return hmac_sha256(secret, text)
