"""Reads answers that arrive as a whole in one read, with one parser for all connections.

Most answers of services are short and arrive in one piece. aiohttp's protocol makes a parser, a stream and an entry in
a queue for each. A complete answer needs none of them: its head is parsed, and its body is the rest.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import ClientPayloadError
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser, RawResponseMessage

from gateway.proxy.strict_parsing import MAX_LINE_BYTES, MAX_LINES, is_unambiguous

MAX_BODY_BYTES: Final = 16 * 1024
"""A longer body is passed on piece by piece."""

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,9})\r\n")
_BODILESS: Final = frozenset({b"204", b"304"})
_READ_BYTES: Final = 64 * 1024


def whole_answer_end(data: bytes) -> int:
    """The length of the head, if ``data`` is exactly one answer to a request other than HEAD: final, with a
    Content-Length that fits. Otherwise, or when in doubt, 0."""
    end = data.find(_HEAD_END) + len(_HEAD_END)
    if end < len(_HEAD_END) or data[:5] != b"HTTP/" or data[9:12] in _BODILESS or data[9:10] == b"1":
        return 0
    length = _LENGTH.search(data, 0, end)
    return end if length is not None and end + int(length[1]) == len(data) else 0


class WholeAnswerParser:
    """Parses whole answers. What it returns is what aiohttp's protocol would have read, only at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser: HttpResponseParser | None = None

    def read(self, data: bytes) -> tuple[RawResponseMessage, bytes] | None:
        """The head and the body of ``data``, if that is exactly one short answer after which the connection stays open;
        otherwise, or when in doubt, None. ``data`` must not belong to an answer to HEAD."""
        end = whole_answer_end(data)
        if not end or len(data) - end >= MAX_BODY_BYTES or end > MAX_LINE_BYTES or data[9:10] == b"0":
            return None
        head = data[:end]
        # With no other line end than CRLF, both parsers see the end of the head in the same place.
        if head.count(b"\n") != head.count(b"\r\n") or not is_unambiguous(head, chunked=False):
            return None
        parser = self._parser
        if parser is None:
            parser = self._parser = self._make_parser()
        try:
            messages, upgraded, tail = parser.feed_data(head)
        except Exception:
            # The usual way will find the same fault, and report it.
            self._parser = None
            return None
        if len(messages) == 1 and not (upgraded or tail):
            message = messages[0][0]
            if not (message.should_close or message.chunked or message.upgrade):
                return message, data[end:]
        # The parser may not be at the beginning of an answer.
        self._parser = None
        return None

    def _make_parser(self) -> HttpResponseParser:
        return HttpResponseParser(
            BaseProtocol(self._loop),
            self._loop,
            _READ_BYTES,
            payload_exception=ClientPayloadError,
            # It gets the heads alone.
            response_with_body=False,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=2 * MAX_LINE_BYTES,
            max_field_size=2 * MAX_LINE_BYTES,
            max_headers=2 * MAX_LINES,
        )
