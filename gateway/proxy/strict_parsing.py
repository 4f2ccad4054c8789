"""Lets only such answers through to aiohttp's parser that its C and Python versions read in the same way.

Each parser accepts something that the other refuses. An answer would then depend on how aiohttp was installed, and a
service behind two gateways would seem healthy to only one of them. Pure functions over bytes.
"""

from __future__ import annotations

import re
from typing import Final

MAX_LINE_BYTES: Final = 32 * 1024
"""Services' heads may be larger than clients': long cookies and policies are common in them."""
MAX_LINES: Final = 256
MAX_HEAD_BYTES: Final = 1024 * 1024
CHUNKS_PER_TURN: Final = 200
"""How many chunks are read in one iteration of the event loop: a few milliseconds of work, with the parser."""

# No blank may begin the first field: one parser makes it part of the name, the other takes it for a folded line.
_STATUS_LINE = re.compile(rb"HTTP/(?:1\.[01]|0\.9|2\.0) [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?\r?\n(?![ \t])")
_CODING = re.compile(rb"\ntransfer-encoding:([^\n]*+)(?=\n)", re.IGNORECASE)
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# The group is empty for a size of zero.
_SIZE = rb"0*+([1-9A-Fa-f][0-9A-Fa-f]{0,14}+|(?<=0)) *+"
_CHUNK = re.compile(rb"%b(?:;%b(?:=(?:%b|\"[!#-\[\]-~ ]*\"))?)*\r\n" % (_SIZE, _TOKEN, _TOKEN))
_PARTIAL_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]+(?: *(?:;[^\r\n]*)?\r?)?")
_TRAILER = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*\r\n" % _TOKEN)


def head_end(data: bytes) -> int:
    """The position after the first empty line, with line ends CRLF or LF; the length of ``data`` if there is none."""
    end = data.find(b"\n\r\n") + 3
    if end < 3:
        end = len(data)
    lf_only = data.find(b"\n\n", 0, end)
    return end if lf_only < 0 else lf_only + 2


def is_unambiguous(head: bytes, *, chunked: bool) -> bool:
    """Whether both parsers read this head, including its final empty line, in the same way. ``chunked``: the parser in
    use takes the answer for a chunked one."""
    if _STATUS_LINE.match(head) is None or head.count(b"\r") != head.count(b"\r\n") or b"\0" in head:
        return False
    if len(head) > MAX_LINE_BYTES and (
        len(head) > MAX_HEAD_BYTES or max(map(len, head.split(b"\n"))) > MAX_LINE_BYTES
    ):
        return False
    if head.count(b"\n") > MAX_LINES:
        return False
    return not (chunked and b"\t" in head and _has_tab_after_coding(head))


def _has_tab_after_coding(head: bytes) -> bool:
    """Whether a tab is among the blanks at the end of a ``Transfer-Encoding``. Not one regex, because backtracking in a
    long run of blanks would take quadratic time."""
    values = [value.removesuffix(b"\r") for value in _CODING.findall(head)]
    return any(b"\t" in value[len(value.rstrip(b" \t")) :] for value in values)


class ChunkChecker:
    """Follows the lines between the chunks of one body."""

    __slots__ = ("_in_trailers", "_left", "_line", "done")

    def __init__(self) -> None:
        self._left = 0
        """Bytes still to come of the current chunk, including its line break."""
        self._line = b""
        """The beginning of an incomplete line."""
        self._in_trailers = False
        self.done = False
        """Whether the body is complete."""

    def feed(self, data: bytes, most: int = CHUNKS_PER_TURN) -> int:
        """Takes the next bytes, with at most ``most`` chunks. Returns how many of the bytes it took, or -1 if the body
        is not valid. It takes everything after the end of the body."""
        kept = len(self._line)
        data, self._line = self._line + data, b""
        at, end, chunks = 0, len(data), 0
        while at < end and not self.done and (chunks < most or self._in_trailers):
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
                continue
            line_end = data.find(b"\n", at, at + MAX_LINE_BYTES)
            if line_end < 0:
                self._line = data[at:]
                sound = self._in_trailers or _PARTIAL_CHUNK_LINE.fullmatch(self._line) is not None
                return end - kept if sound and len(self._line) < MAX_LINE_BYTES else -1
            if not self._check_line(data[at : line_end + 1]):
                return -1
            at = line_end + 1
            chunks += 1
        return (end if self.done else at) - kept

    def _check_line(self, line: bytes) -> bool:
        if self._in_trailers:
            self.done = line == b"\r\n"
            return self.done or _TRAILER.fullmatch(line) is not None
        size = _CHUNK.fullmatch(line)
        if size is None:
            return False
        length = int(size[1] or b"0", 16)
        self._in_trailers = not length
        self._left = length + 2 if length else 0
        return True
