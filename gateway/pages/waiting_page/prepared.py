"""A page that is rendered and compressed once, but for its slots, which are filled for each request.

A slot is written into the rendered text as its name between two NUL characters, which no HTML may hold. In gzip the
pieces between slots are blocks of their own that refer to nothing before them. So they are compressed once, and the
values of slots stand between them as they are.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

_MARK: Final = "\0"
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
"""An empty block that ends the data."""
_MAX_STORED: Final = 0xFFFF
"""The most bytes of a block that is not compressed."""
_BLOCK: Final = struct.Struct("<BHH")
"""What such a block begins with: its kind, its length, and the length again with all bits inverted."""
_END: Final = struct.Struct("<II")


def slot(name: str) -> str:
    """The mark of the slot ``name`` in a text that is to be prepared."""
    return f"{_MARK}{name}{_MARK}"


class Prepared:
    """``text`` with the marks of its slots, ready to be filled."""

    def __init__(self, text: str) -> None:
        parts = text.split(_MARK)
        if len(parts) % 2 == 0:
            raise ValueError("a mark of a slot is not closed")
        self.slots: Final = tuple(parts[1::2])
        """The names of the slots in their order. A name may be there several times."""
        self.names: Final = tuple(dict.fromkeys(self.slots))
        pieces = [part.encode() for part in parts[::2]]
        self._last = pieces[-1]
        self._plain = tuple(zip(pieces, self.slots, strict=False))
        compressed = list(map(_compressed, pieces))
        self._last_compressed = compressed[-1] + _LAST_BLOCK
        self._compressed = tuple(zip(compressed, self.slots, strict=False))

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The page with the values of its slots."""
        found: list[bytes] = []
        for piece, name in self._plain:
            found += (piece, values[name])
        found.append(self._last)
        return b"".join(found)

    def fill_gzip(self, values: Mapping[str, bytes]) -> bytes:
        """The same in gzip."""
        plain = self.fill(values)
        stored = {name: _stored(values[name]) for name in self.names}
        found = [_GZIP_HEAD]
        for piece, name in self._compressed:
            found += (piece, stored[name])
        found.append(self._last_compressed)
        found.append(_END.pack(zlib.crc32(plain), len(plain) & 0xFFFFFFFF))
        return b"".join(found)


def _compressed(piece: bytes) -> bytes:
    """``piece`` as blocks of deflate that begin and end at a byte, and refer to nothing outside of it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(piece) + deflate.flush(zlib.Z_FULL_FLUSH)


def _stored(value: bytes) -> bytes:
    """``value`` as blocks of deflate that are not compressed."""
    length = len(value)
    if length <= _MAX_STORED:
        return _BLOCK.pack(0, length, length ^ _MAX_STORED) + value
    return b"".join(_stored(value[at : at + _MAX_STORED]) for at in range(0, length, _MAX_STORED))
