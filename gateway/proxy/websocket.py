"""The WebSocket handshake, as far as one must know it who passes on what follows unread. Pure (RFC 6455, 4.1 and 4.2).

A request that is not exactly one is a plain request, and so is whatever comes behind it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Final

from aiohttp import HttpVersion, HttpVersion11, hdrs
from multidict import MultiMapping

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# 16 bytes in base64, in the one way there is.
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PROTOCOL = re.compile(f"{_NAME}(?:/{_NAME})?")

UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket"


def key_of(method: str, version: HttpVersion, headers: MultiMapping[str]) -> str | None:
    """The ``Sec-WebSocket-Key`` of a sound handshake; None if the request is none."""
    if method != hdrs.METH_GET or version != HttpVersion11 or not _asks(headers):
        return None
    # Some clients say that there is no body, which changes nothing.
    if hdrs.TRANSFER_ENCODING in headers or headers.getall(hdrs.CONTENT_LENGTH, ["0"]) != ["0"]:
        return None
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, ()) != ["13"]:
        return None
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, ())
    return keys[0] if len(keys) == 1 and _KEY.fullmatch(keys[0]) else None


def accepts(headers: MultiMapping[str], key: str) -> bool:
    """Whether the head of a 101 is the answer to the handshake with this key, and to no other."""
    upgrades = headers.getall(hdrs.UPGRADE, ())
    switches = len(upgrades) == 1 and _is(upgrades[0], "websocket") and _lists_upgrade(headers)
    return switches and headers.getall(hdrs.SEC_WEBSOCKET_ACCEPT, ()) == [accept_of(key)]


def accept_of(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that belongs to a key."""
    # Not for secrecy: it shows that the answer was made for this handshake.
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def _asks(headers: MultiMapping[str]) -> bool:
    """Whether a client offers to go on with a WebSocket, perhaps among others, in one line or several (RFC 9110, 7.8).
    Its service is offered nothing else."""
    offers = [offer.strip(" \t") for value in headers.getall(hdrs.UPGRADE, ()) for offer in value.split(",")]
    sound = all(_PROTOCOL.fullmatch(offer) for offer in offers if offer)
    return sound and any(_is(offer, "websocket") for offer in offers) and _lists_upgrade(headers)


def _lists_upgrade(headers: MultiMapping[str]) -> bool:
    values: Iterable[str] = headers.getall(hdrs.CONNECTION, ())
    return any(_is(token, "upgrade") for value in values for token in value.split(","))


def _is(token: str, word: str) -> bool:
    """Regardless of case, but not of what merely becomes these letters in lower case."""
    return token.isascii() and token.strip(" \t").lower() == word
