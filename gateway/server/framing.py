"""Where requests begin and end in the bytes of a connection, and which heads are refused as ambiguous. No I/O.

aiohttp's C and Python parsers do not refuse exactly the same requests. So the gateway decides here, before any handler
gets the request. A refusal ends the connection: if a head is ambiguous, so is the place where the next one begins.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping
from yarl import URL

_LENGTH: Final = re.compile(r"[0-9]{1,18}")
HEAD_TOO_LATE: Final = "the head did not arrive in time"
BODY_TOO_LATE: Final = "the body did not arrive in time"
# Not ``lower()``, which turns the Kelvin sign into a k.
_CHUNKED: Final = re.compile("chunked", re.ASCII | re.IGNORECASE)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_ANY_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*([^?#]*)")
# CONNECT asks for a tunnel; HTTP/2 begins with PRI.
_UNSUPPORTED_METHODS: Final = frozenset({"CONNECT", "PRI"})
_MAX_METHOD_LENGTH: Final = 64
MAX_CONNECTION_OPTIONS: Final = 100
"""How many members ``Connection`` may have, in all its lines together. Each costs a comparison or several."""
_MAX_MEMBERS: Final = (
    (hdrs.CONNECTION, ",", MAX_CONNECTION_OPTIONS),
    # No browser keeps as many cookies of one site.
    (hdrs.COOKIE, ";", 500),
    (hdrs.VIA, ",", 100),
)
"""Headers whose members are looked at one by one, with what separates the members, and how many there may be."""
MAX_SEGMENTS: Final = 500
"""How many segments a path may have. Routes, gates and access rules look at each one."""


class MessageHead(Protocol):
    """The parts of a parsed request that are checked here."""

    @property
    def method(self) -> str: ...
    @property
    def version(self) -> HttpVersion: ...
    @property
    def headers(self) -> MultiMapping[str]: ...


class BodyTooSlow(web.RequestPayloadError):
    """The error of a body whose bytes did not arrive in time, so that its connection was closed."""


def head_error(head: MessageHead) -> str | None:
    """Why this request is ambiguous and must be refused: one clause without client data; None if it is not.

    Both parsers have already made sure that names and values hold no invalid characters.
    """
    if head.method in _UNSUPPORTED_METHODS:
        return f"{head.method} is not for gateways"
    if len(head.method) > _MAX_METHOD_LENGTH:
        return "the method is too long"
    headers = head.headers
    hosts = headers.getall(hdrs.HOST, ())
    if len(hosts) == 1:
        # Clients send an empty Host if their target has no authority, and so do some load balancers' checks (RFC 9112,
        # 3.2).
        if hosts[0] and _HOST.fullmatch(hosts[0]) is None:
            return "Host is malformed"
    elif hosts or head.version != HttpVersion10:
        # HTTP/1.0 has no Host, and load balancers' default checks use HTTP/1.0.
        return "there must be exactly one Host"
    for name, separator, most in _MAX_MEMBERS:
        if name in headers and sum(value.count(separator) for value in headers.getall(name)) >= most:
            return f"{name} has too many members"
    if hdrs.CONTENT_LENGTH in headers or hdrs.TRANSFER_ENCODING in headers:
        return _length_error(head)
    return None


def _length_error(head: MessageHead) -> str | None:
    """``head_error`` for what the head says of its body."""
    lengths = head.headers.getall(hdrs.CONTENT_LENGTH, ())
    codings = head.headers.getall(hdrs.TRANSFER_ENCODING, ())
    if len(lengths) + len(codings) > 1:
        return "the length of the body is given twice"
    if lengths and _LENGTH.fullmatch(lengths[0]) is None:
        return "Content-Length is not a length"
    if codings and (_CHUNKED.fullmatch(codings[0]) is None or head.version != HttpVersion11):
        return "a transfer coding other than chunked"
    return None


def url_of(target: str) -> URL:
    """What aiohttp routes by, for a target that is no path of bearable length: the path of an absolute one, else ``/``.

    aiohttp would look at its host as well, and fail at hosts that are none.
    """
    absolute = _ANY_ABSOLUTE.match(target)
    path = absolute[1] if absolute is not None else ""
    # The request handler refuses such a path before its route matters.
    return URL.build(path="/" if not path or has_too_many_segments(path) else path, encoded=True)


def has_too_many_segments(target: str) -> bool:
    """Whether a target has a path of more than ``MAX_SEGMENTS`` segments."""
    if len(target) <= MAX_SEGMENTS:
        return False
    end = target.find("?")
    return target.count("/", 0, len(target) if end < 0 else end) > MAX_SEGMENTS


def with_host(message: RawRequestMessage) -> RawRequestMessage:
    """HTTP/1.0 has no Host header. If the absolute target of such a request names a host, returns the request with that
    as its Host; otherwise returns it unchanged."""
    if message.version != HttpVersion10 or hdrs.HOST in message.headers:
        return message
    absolute = _ABSOLUTE.match(message.path)
    if absolute is None or _HOST.fullmatch(absolute[1]) is None:
        return message
    headers = CIMultiDict([(hdrs.HOST, absolute[1]), *message.headers.items()])
    raw_headers = ((b"Host", absolute[1].encode("ascii")), *message.raw_headers)
    return message._replace(headers=CIMultiDictProxy(headers), raw_headers=raw_headers)


HEAD_END: Final = b"\r\n\r\n"

# The only valid form. Parsers tolerate lower case, several spaces or other protocols, each parser something different.
_REQUEST_LINE: Final = re.compile(
    rb"(\r\n)?([!#$%&'*+.^_`|~0-9A-Z-]+) ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01]\r\n)"
)
_PARTIAL_REQUEST_LINE: Final = re.compile(
    rb"\r?|(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Z-]*(?: (?:[\x21-\x7e\x80-\xff]+(?: H?T?T?P?/?1?\.?[01]?\r?)?)?)?"
)
# Lines that both of aiohttp's parsers read unchanged. The C parser has a fixed list of methods, and accepts no byte
# beyond ASCII.
_PLAIN_REQUEST_LINE: Final = re.compile(
    rb"(?:\r\n)?(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH|TRACE"
    rb"|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|PURGE) [\x21-\x7e]+ HTTP/1\.[01]\r\n"
)
_NON_ASCII_REPLACED: Final = bytes(byte if byte < 0x80 else 0x7E for byte in range(256))
# Parsers refuse a name with blanks before the colon; it is refused here before they see it. The value still has its
# blanks behind it. Nothing here goes back, so that a line of blanks takes linear time.
_FRAMING_HEADER: Final = re.compile(
    rb"\n(content-length|transfer-encoding)[ \t]*+:[ \t]*+([^\r\n]*+)(?=\r?\n)", re.IGNORECASE
)
# The group is empty for a size of zero.
_CHUNK_SIZE: Final = re.compile(
    rb"0*+([1-9A-Fa-f][0-9A-Fa-f]{0,14}+|(?<=0))(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?"
)
# Trailers are dropped. A framing header among them is refused all the same, because another reader may honour it.
_TRAILER: Final = re.compile(
    rb"(?!content-length:|transfer-encoding:)[!#$%&'*+.^_`|~0-9A-Z-]+:[\t\x20-\x7e\x80-\xff]*", re.IGNORECASE
)

# Chunked bodies may have this many bytes of overhead, and a multiple of their data.
_CHUNK_OVERHEAD_BYTES: Final = 32 * 1024
_CHUNK_OVERHEAD_RATIO: Final = 16
CHUNKS_PER_TURN: Final = 200
"""How many chunks are read in one iteration of the event loop: a few milliseconds of work, with the parser."""


class RequestLineScanner:
    """Follows the first line of a head as it arrives.

    ``output`` holds what the parser gets of the last piece: nothing before the line is complete. If a parser would
    refuse the line for its method, or for bytes beyond ASCII, the line is replaced by one that it accepts; ``original``
    then holds the true method and target.
    """

    __slots__ = ("_limit", "_line", "original", "output")

    def __init__(self, limit: int) -> None:
        """``limit``: the maximum length of the line in bytes."""
        self._limit = limit
        self._line: bytes | None = b""
        self.output = b""
        self.original: tuple[str, str] | None = None

    def begin(self) -> None:
        """Starts a new head."""
        self._line = b""
        self.original = None

    def feed(self, piece: bytes) -> bool:
        """Takes ``piece``, the next bytes of the head. Returns whether they can still be a valid request line."""
        self.output = piece
        if self._line is None:
            return True
        line = self._line + piece if self._line else piece
        found = _REQUEST_LINE.match(line)
        if found is not None:
            self._line = None
            self.output = line if _PLAIN_REQUEST_LINE.match(line) is not None else self._replaced(line, found)
            return True
        self._line, self.output = line, b""
        return len(line) <= self._limit and _PARTIAL_REQUEST_LINE.fullmatch(line) is not None

    def _replaced(self, line: bytes, found: re.Match[bytes]) -> bytes:
        empty, method, target, version = found.groups(b"")
        self.original = method.decode(), target.decode("utf-8", "surrogateescape")
        rest = line[found.end() :]
        return b"%bGET %b %b%b" % (empty, target.translate(_NON_ASCII_REPLACED), version, rest)


class HeadEndScanner:
    """Finds the empty lines that end heads, even if a read ends within one."""

    __slots__ = ("_carry",)

    def __init__(self) -> None:
        self._carry = b""

    def find_end(self, data: bytes, at: int) -> int:
        """The position after the next empty line, or the length of ``data`` if none ends in it.

        ``at``: where to begin; 0 continues where the previous read stopped. Stop only at positions returned here.
        """
        if at == 0 and self._carry:
            carry, self._carry = self._carry, b""
            found = (carry + data[:3]).find(HEAD_END)
            if found >= 0:
                return found + 4 - len(carry)
            if len(data) < 3:
                self._carry = carry
        found = data.find(HEAD_END, at)
        if found >= 0:
            return found + 4
        self._carry = (self._carry + data[at:])[-3:]
        return len(data)


class CompleteHead(NamedTuple):
    """A complete head. ``data`` is for the parser; ``original`` as in ``RequestLineScanner``."""

    data: bytes
    original: tuple[str, str] | None


class HeadReader:
    """Collects the pieces of a head until it is complete.

    ``line_bytes`` limits the request line, ``head_bytes`` the whole head.
    """

    __slots__ = ("_buffer", "_end_scanner", "_head_bytes", "_line", "begun", "fault", "size")

    def __init__(self, line_bytes: int, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._end_scanner = HeadEndScanner()
        self._line = RequestLineScanner(line_bytes)
        self._buffer = b""
        self.size = 0
        """How many bytes of an unfinished head have arrived."""
        self.begun = False
        """Whether more than an empty line has arrived; some clients send an empty line after a body."""
        self.fault = ""
        """Why the bytes are not a valid head: one clause without client data. Nothing more is read then."""

    def feed(self, data: bytes, at: int) -> tuple[int, CompleteHead | None]:
        """Takes what belongs to the head, from position ``at`` of ``data``. Returns the position after it, and the head
        if it is complete now."""
        cut = self._end_scanner.find_end(data, at)
        piece = data if cut - at == len(data) else data[at:cut]
        line = self._line
        self.size += len(piece)
        self.begun = self.begun or self.size > len(HEAD_END) or bool(piece.strip(b"\r\n"))
        if not line.feed(piece):
            self.fault = "the request line is malformed"
        elif self.size > self._head_bytes:
            self.fault = "the head is too long"
        else:
            self._buffer += line.output
            if self._buffer.endswith(HEAD_END):
                head, self._buffer, self.size, self.begun = self._buffer, b"", 0, False
                whole = CompleteHead(head, line.original)
                line.begin()
                if head.strip(b"\r\n"):
                    return cut, whole
                self.fault = "nothing but empty lines"
        return cut, None


class Framing(NamedTuple):
    """Where the body of a request ends: after ``length`` bytes, or with its last chunk. ``fault``: why that is
    ambiguous, in one clause without client data."""

    length: int = 0
    chunked: bool = False
    fault: str = ""


_NO_BODY: Final = Framing()


def framing_of(head: bytes) -> Framing:
    """The framing of a complete head with a valid request line."""
    lowered = head.lower()
    if b"\ncontent-length" not in lowered and b"\ntransfer-encoding" not in lowered:
        # Most heads: looking for two texts takes a fraction of the regex's time.
        found = []
    else:
        found = _FRAMING_HEADER.findall(head)
    if not found:
        return _NO_BODY if head.count(b"\n") == head.count(b"\r\n") else Framing(fault="a bare line feed")
    if len(found) > 1:
        return Framing(fault="the length of the body is given twice")
    name, value = found[0]
    value = value.rstrip(b" \t")
    if name[:1] in b"cC":
        text = value.decode("latin-1")
        if _LENGTH.fullmatch(text) is None:
            return Framing(fault="Content-Length is not a length")
        return Framing(int(text))
    if value.lower() != b"chunked" or b" HTTP/1.0\r\n" in head[: head.index(b"\r\n", 2) + 2]:
        return Framing(fault="a transfer coding other than chunked")
    return Framing(chunked=True)


class ChunkedBody:
    """Follows the framing of one chunked body, so that its end is known independently of the parser.

    The parser gets the chunks unchanged, and always the same end: ``0``, without extension and trailers. Extension and
    trailers are checked and dropped here, because aiohttp's C parser would take trailers for fields of the next
    request. An incomplete line is kept back until it is complete.

    One call takes at most ``CHUNKS_PER_TURN`` chunks, so that a body of tiny ones does not hold the event loop.

    ``line_bytes`` limits one line, ``trailers`` their number, ``trailer_bytes`` all of them together.
    """

    __slots__ = (
        "_bytes",
        "_data_bytes",
        "_in_trailers",
        "_left",
        "_line",
        "_line_bytes",
        "_trailer_bytes",
        "_trailers",
        "done",
        "fault",
    )

    def __init__(self, line_bytes: int, trailers: int, trailer_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._trailers = trailers
        self._trailer_bytes = trailer_bytes
        self._left = 0
        """Bytes still to come of the current chunk, including its line break."""
        self._line = b""
        """The beginning of an incomplete line."""
        self._in_trailers = False
        self._bytes = self._data_bytes = 0
        """Bytes of complete lines and chunks so far, and how many of these were data."""
        self.done = False
        """Whether the body is complete."""
        self.fault = False
        """Whether the bytes are not a valid chunked body, or hold almost no data."""

    def feed(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Takes what belongs to the body, from position ``at`` of ``data``. Returns the bytes for the parser, and the
        position after what was taken: after the body's part, or before it if that has too many chunks for one call. Do
        not call it again once the body is done or faulty."""
        kept = len(self._line)
        if kept:
            data, self._line = self._line + data[at:], b""
            piece, behind = self._scan(data, 0)
            return piece, behind - kept + at
        return self._scan(data, at)

    def _scan(self, data: bytes, at: int) -> tuple[bytes, int]:
        begin, end, chunks = at, len(data), 0
        before: list[bytes] = []
        """What goes before ``data[begin:]``, where something was left out."""
        behind = -1
        """Where the last chunk's line begins, once it has arrived: the bytes before it are for the parser."""
        if self._in_trailers:
            behind = at
        while at < end and (chunks < CHUNKS_PER_TURN or self._in_trailers):
            if self._left:
                at = self._skip(data, at)
                if self.fault:
                    return b"", at
                continue
            line_end = data.find(b"\r\n", at, at + self._line_bytes + 2)
            if line_end < 0:
                self._line = data[at:]
                # An invalid line break does not become a valid one.
                self.fault = end - at > self._line_bytes or b"\n" in self._line or b"\r" in self._line[:-1]
                return _joined(before, data[begin : at if behind < 0 else behind]), end
            line = data[at:line_end]
            if not self._in_trailers:
                if line == b"0" and data.startswith(b"\r\n", line_end + 2):
                    # The usual case: the parser gets the bytes unchanged.
                    self.done = True
                    return _joined(before, data[begin : line_end + 4]), line_end + 4
                if self._is_last(line):
                    self._in_trailers = True
                    behind = at
                elif b";" in line:
                    # Extensions mean nothing here, and aiohttp's parsers refuse many that are sound.
                    before += data[begin:at], line.partition(b";")[0].rstrip(b" \t"), b"\r\n"
                    begin = line_end + 2
            elif not line:
                self.done = True
                return _joined(before, data[begin:behind] + b"0\r\n\r\n"), line_end + 2
            else:
                self._check_trailer(line)
            at = line_end + 2
            if self.fault:
                return b"", at
            chunks += 1
        return _joined(before, data[begin : at if behind < 0 else behind]), at

    def _skip(self, data: bytes, at: int) -> int:
        """Passes over what has come of the present chunk. Returns the position behind it."""
        step = min(self._left, len(data) - at)
        at += step
        # The last two bytes of a chunk are its line break, of which one may have come before.
        breaks = min(step, step - (self._left - 2))
        self._left -= step
        if breaks > 0:
            self.fault = data[at - breaks : at] != b"\r\n"[2 - self._left - breaks : 2 - self._left]
        return at

    def _is_last(self, line: bytes) -> bool:
        """Begins the chunk that ``line`` announces. Returns whether it is the last chunk, which has no data."""
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            self.fault = True
            return False
        length = int(size[1] or b"0", 16)
        if not length:
            return True
        self._left = length + 2
        # Judged by the chunks before it, because an announced size is not data yet.
        self._bytes += len(line) + 2
        self.fault = self._bytes > _CHUNK_OVERHEAD_BYTES + _CHUNK_OVERHEAD_RATIO * self._data_bytes
        self._bytes += self._left
        self._data_bytes += length
        return False

    def _check_trailer(self, line: bytes) -> None:
        self._trailers -= 1
        self._trailer_bytes -= len(line) + 2
        self.fault = self._trailers < 0 or self._trailer_bytes < 0 or _TRAILER.fullmatch(line) is None


def _joined(before: list[bytes], rest: bytes) -> bytes:
    return b"".join((*before, rest)) if before else rest


class BodyReader:
    """Follows the bodies of a connection, one after the other, to their ends. The limits are those of
    ``ChunkedBody``."""

    __slots__ = ("_chunks", "_left", "_length", "_limits", "fault")

    def __init__(self, line_bytes: int, trailers: int, trailer_bytes: int) -> None:
        self._limits = line_bytes, trailers, trailer_bytes
        self._length = self._left = 0
        """Bytes still to come, if the body has a known length."""
        self._chunks: ChunkedBody | None = None
        """The state of a chunked body until its end."""
        self.fault = False
        """Whether the body's framing is invalid. Nothing more is read then."""

    def begin(self, framing: Framing) -> None:
        """Starts the next body."""
        self._length = self._left = framing.length
        if framing.chunked:
            self._chunks = ChunkedBody(*self._limits)

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived, or the request has none."""
        return not self._left and self._chunks is None

    def continues_after(self, taken: int) -> bool:
        """Whether the body has a known length, its first ``taken`` bytes are all that have arrived, and more are to
        come."""
        return self._chunks is None and self._left > 0 and self._length - self._left == taken

    def remaining_at_most(self, limit: int) -> bool:
        """Whether it is known that at most ``limit`` bytes are still to come."""
        return self._chunks is None and self._left <= limit

    def feed(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Takes what belongs to the body, from position ``at`` of ``data``. Returns the bytes for the parser, and the
        position after what was taken; see ``ChunkedBody.feed``."""
        chunks = self._chunks
        if chunks is None:
            cut = min(len(data), at + self._left)
            self._left -= cut - at
            return data if cut - at == len(data) else data[at:cut], cut
        piece, cut = chunks.feed(data, at)
        self.fault = chunks.fault
        if chunks.done:
            self._chunks = None
        return piece, cut


def whole_request(data: bytes, most_head: int, most_body: int) -> int:
    """The length of the head, if ``data``, which begins with a plain request line, is exactly one request whose body,
    if it has one, is not chunked; else 0. ``most_head`` and ``most_body`` are bytes.

    If nothing follows the head, this does not look for framing headers: ``announces_body`` does, for a parsed head.
    """
    size = len(data)
    end = data.find(HEAD_END) + 4
    if end < 4 or end > most_head or size - end > most_body:
        return 0
    if end == size:
        return end if data.count(b"\n") == data.count(b"\r\n") else 0
    framing = framing_of(data[:end])
    return 0 if framing.fault or framing.chunked or framing.length != size - end else end


def announces_body(headers: MultiMapping[str], head: bytes) -> bool:
    """Whether a head, parsed as ``headers``, announces a body, or may be read so. Cheap for a head without framing
    headers."""
    if hdrs.CONTENT_LENGTH not in headers and hdrs.TRANSFER_ENCODING not in headers:
        return False
    framing = framing_of(head)
    return bool(framing.fault or framing.chunked or framing.length)


def is_single_head(data: bytes, limit: int) -> bool:
    """Whether ``data`` is exactly one head of at most ``limit`` bytes with a plain request line. This is the usual
    case."""
    return (
        data.find(HEAD_END) == len(data) - 4
        and len(data) <= limit
        and _PLAIN_REQUEST_LINE.match(data) is not None
    )
