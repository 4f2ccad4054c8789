"""Where requests begin and may end in what comes from a connection, however it is cut. No I/O."""

from __future__ import annotations

import re
from typing import Final

HEAD_END: Final = b"\r\n\r\n"

# The one form there is. Parsers forgive lower case, several spaces, other protocols, each something else.
_LINE: Final = re.compile(rb"(\r\n)?([!#$%&'*+.^_`|~0-9A-Z-]+) ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01]\r\n)")
_BEGINNING: Final = re.compile(
    rb"\r?|(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Z-]*(?: (?:[\x21-\x7e\x80-\xff]+(?: H?T?T?P?/?1?\.?[01]?\r?)?)?)?"
)
# Lines that both of aiohttp's parsers read as they are. The C parser has a fixed list of methods, and takes no byte
# beyond ASCII.
_PLAIN_LINE: Final = re.compile(
    rb"(?:\r\n)?(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH|TRACE"
    rb"|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|PURGE) [\x21-\x7e]+ HTTP/1\.[01]\r\n"
)
_BEYOND_ASCII: Final = bytes(byte if byte < 0x80 else 0x7E for byte in range(256))


class RequestLine:
    """Watches the first line of a head come in.

    ``ready`` is what the parser gets of the piece taken last: nothing before the line is complete. A line that a parser
    would refuse for its method, or for bytes beyond ASCII, is replaced by one that it takes; ``meant`` then holds the
    true method and target.
    """

    __slots__ = ("_line", "_most", "meant", "ready")

    def __init__(self, most: int) -> None:
        """``most``: how many bytes it may have."""
        self._most = most
        self._line: bytes | None = b""
        self.ready = b""
        self.meant: tuple[str, str] | None = None

    def begin(self) -> None:
        """What comes now is another head."""
        self._line = b""
        self.meant = None

    def takes(self, piece: bytes) -> bool:
        """Whether the line may still be one, ``piece`` being what comes next of the head."""
        self.ready = piece
        if self._line is None:
            return True
        line = self._line + piece if self._line else piece
        found = _LINE.match(line)
        if found is not None:
            self._line = None
            self.ready = line if _PLAIN_LINE.match(line) is not None else self._replaced(line, found)
            return True
        self._line, self.ready = line, b""
        return len(line) <= self._most and _BEGINNING.fullmatch(line) is not None

    def _replaced(self, line: bytes, found: re.Match[bytes]) -> bytes:
        empty, method, target, version = found.groups(b"")
        self.meant = method.decode(), target.decode("utf-8", "surrogateescape")
        rest = line[found.end() :]
        return b"%bGET %b %b%b" % (empty, target.translate(_BEYOND_ASCII), version, rest)


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
    """Whether ``data`` is exactly one head, as nearly always, of at most ``most`` bytes, with a plain request line."""
    return data.find(HEAD_END) == len(data) - 4 and len(data) <= most and _PLAIN_LINE.match(data) is not None


def ended_plainly(piece: bytes) -> bool:
    """Whether the last piece of a chunked body has nothing behind its last chunk. When in doubt, no."""
    return piece == b"0\r\n\r\n" or piece.endswith(b"\r\n0\r\n\r\n")
