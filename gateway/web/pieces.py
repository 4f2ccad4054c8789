"""Where requests begin and may end in what comes from a connection, however it is cut. No I/O."""

from __future__ import annotations

import re
from typing import Final

HEAD_END: Final = b"\r\n\r\n"

# The one form there is. Parsers forgive lower case, several spaces, other protocols, each something else.
_LINE: Final = re.compile(rb"(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Z-]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.[01]\r\n")


class RequestLine:
    """Watches the first line of a head come in."""

    __slots__ = ("_line", "_most")

    def __init__(self, most: int) -> None:
        """``most``: how many bytes it may have."""
        self._most = most
        self._line: bytes | None = b""

    def begin(self) -> None:
        """What comes now is another head."""
        self._line = b""

    def takes(self, piece: bytes) -> bool:
        """Whether the line may still be one, ``piece`` being what comes next of the head."""
        if self._line is None:
            return True
        line = self._line + piece if self._line else piece
        if _LINE.match(line) is not None:
            self._line = None
            return True
        self._line = line
        return len(line) <= self._most and b"\r\n" not in line[2:]


class Ends:
    """Finds the empty lines that end heads and chunked bodies, also where a read ends within them."""

    __slots__ = ("_seam",)

    def __init__(self) -> None:
        self._seam = b""

    def next(self, data: bytes, at: int) -> int:
        """The position behind the next empty line, or the length of ``data`` if none ends in it.

        ``at``: where to begin; 0 is where the read before stopped. Stop only at positions given here.
        """
        if at == 0 and self._seam:
            seam, self._seam = self._seam, b""
            found = (seam + data[:3]).find(HEAD_END)
            if found >= 0:
                return found + 4 - len(seam)
            if len(data) < 3:
                self._seam = seam
        found = data.find(HEAD_END, at)
        if found >= 0:
            return found + 4
        self._seam = (self._seam + data[at:])[-3:]
        return len(data)


def one_whole_head(data: bytes, most: int) -> bool:
    """Whether ``data`` is exactly one head, as nearly always, of at most ``most`` bytes."""
    return data.find(HEAD_END) == len(data) - 4 and len(data) <= most and _LINE.match(data) is not None


def ended_plainly(piece: bytes) -> bool:
    """Whether the last piece of a chunked body has nothing behind its last chunk. When in doubt, no."""
    return piece == b"0\r\n\r\n" or piece.endswith(b"\r\n0\r\n\r\n")
