"""Frames of a WebSocket (RFC 6455, 5.2): where they end, and the frame that closes it.

The gateway passes bytes on unread. To send a frame of its own it must know where a frame of the service or of the
client ends, since a frame in the middle of another one would garble both.
"""

from __future__ import annotations

import secrets
from typing import Final

POLICY_VIOLATION: Final = 1008
"""The close code for a session that is over."""

_CLOSE: Final = 0x88
_MASKED: Final = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_MAX_REASON_BYTES: Final = 123
FRAMES_PER_TURN: Final = 1000
"""How many frames are read in one iteration of the event loop: one to two milliseconds of work. A frame may be two
bytes long, so one read of a socket may hold a hundred thousand."""


class FrameReader:
    """Reads one direction of a WebSocket, however its frames are cut."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = bytearray()
        """The beginning of a frame's head that has not arrived completely."""
        self._left = 0
        """Bytes of the current frame's payload that are still to come."""

    @property
    def between_frames(self) -> bool:
        """Whether all frames that have begun are complete."""
        return not (self._left or self._head)

    def feed(self, data: bytes, most: int) -> int:
        """Reads on, to the end of at most ``most`` frames. Returns how many bytes it has read."""
        at, end, head = 0, len(data), self._head
        while at < end and most:
            if self._left:
                taken = min(self._left, end - at)
                self._left -= taken
                at += taken
            else:
                piece = data[at : at + _head_size(head) - len(head)]
                head += piece
                at += len(piece)
                if len(head) > 1 and len(head) == _head_size(head):
                    self._left = _payload_size(head)
                    head.clear()
            if not (self._left or head):
                most -= 1
        return at


def _head_size(head: bytearray) -> int:
    """The length of a frame's head, as far as its beginning shows it."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    more = 2 if length == _LENGTH_16 else 8 if length == _LENGTH_64 else 0
    return 2 + more + (4 if head[1] & _MASKED else 0)


def _payload_size(head: bytearray) -> int:
    length = head[1] & 0x7F
    if length == _LENGTH_16:
        return int.from_bytes(head[2:4], "big")
    return int.from_bytes(head[2:10], "big") if length == _LENGTH_64 else length


def close_frame(code: int, reason: str, *, masked: bool) -> bytes:
    """A frame that closes a WebSocket. ``masked``: it is sent to a service, as by a client."""
    payload = code.to_bytes(2, "big") + reason.encode()[:_MAX_REASON_BYTES]
    if not masked:
        return bytes((_CLOSE, len(payload))) + payload
    key = secrets.token_bytes(4)
    covered = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes((_CLOSE, _MASKED | len(payload))) + key + covered


class Closing:
    """One direction of a tunnel that the gateway may close: passes bytes on until then, and no further frame after the
    closing one."""

    __slots__ = ("_close", "_frames", "_masked", "closed")

    def __init__(self, *, masked: bool) -> None:
        self._frames = FrameReader()
        self._masked = masked
        self._close = b""
        self.closed = False
        """Whether the closing frame has been given out."""

    def passed_on(self, data: bytes) -> tuple[bytes, bytes]:
        """What is sent for the beginning of these bytes, and the bytes behind it. These are for the next iteration of
        the event loop: there are that many frames."""
        if self.closed:
            return b"", b""
        if self._close:
            return data[: self._frames.feed(data, 1)] + self._frame_if_due(), b""
        read = self._frames.feed(data, FRAMES_PER_TURN)
        return (data, b"") if read == len(data) else (data[:read], data[read:])

    def last(self, data: bytes) -> bytes:
        """What is sent for the last bytes of all. Where their frames end no longer matters, unless the closing frame
        waits for that."""
        return self.passed_on(data)[0] if self._close or self.closed else data

    def close(self, code: int, reason: str) -> bytes:
        """From now on no frame begins. Returns the closing frame, or nothing while another frame is not complete."""
        if self._close or self.closed:
            return b""
        self._close = close_frame(code, reason, masked=self._masked)
        return self._frame_if_due()

    def _frame_if_due(self) -> bytes:
        if not self._frames.between_frames:
            return b""
        self.closed = True
        return self._close
