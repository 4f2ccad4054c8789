"""The PROXY protocol as bytes: what is a header of it, where it ends, and whom it names."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address

import pytest

from gateway.server.proxy_protocol import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    UNKNOWN,
    V2_START,
    Header,
    MalformedHeader,
    may_begin,
    own_bytes,
    read_header,
)


def v2(
    source: str = "192.0.2.9",
    port: int = 4711,
    *,
    command: int = 0x21,
    family: int | None = None,
    more: bytes = b"",
) -> bytes:
    """A header of version 2 that names this client."""
    packed = ip_address(source).packed
    kind = family if family is not None else 0x11 if len(packed) == 4 else 0x21
    body = packed + packed + struct.pack("!HH", port, 443) + more
    return V2_START + bytes((command, kind)) + struct.pack("!H", len(body)) + body


V1 = b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 443\r\n"
SOUND = [
    (V1, ("192.0.2.9", 4711)),
    (b"PROXY TCP6 2001:DB8::9 ::1 65535 0\r\n", ("2001:db8::9", 65535)),
    (b"PROXY UNKNOWN\r\n", (UNKNOWN, 0)),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", (UNKNOWN, 0)),
    (v2(), ("192.0.2.9", 4711)),
    (v2("2001:db8::9", 1), ("2001:db8::9", 1)),
    (v2(family=0x12), ("192.0.2.9", 4711)),
    (v2(more=b"\x04\x00\x03abc" * 100), ("192.0.2.9", 4711)),
    (v2(command=0x20), None),
    (V2_START + b"\x20\x00\x00\x00", None),
    (V2_START + b"\x21\x00\x00\x00", (UNKNOWN, 0)),
    (V2_START + b"\x21\x31\x00\xd8" + b"/" * 216, (UNKNOWN, 0)),
]


@pytest.mark.parametrize(("data", "client"), SOUND)
def test_a_sound_header_names_the_client_however_it_is_cut(
    data: bytes, client: tuple[str, int] | None
) -> None:
    assert read_header(data) == Header(client, len(data))
    assert read_header(data + b"GET / HTTP/1.1\r\n\r\n") == Header(client, len(data))
    for cut in range(len(data)):
        assert may_begin(data[:cut])
        assert read_header(data[:cut]) is None
        assert own_bytes(data[:cut]) == cut


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.0.2.9 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 443 \r\n",
        b"PROXY  TCP4 192.0.2.9 198.51.100.1 4711 443\r\n",
        b"PROXY TCP4 2001:db8::9 ::1 4711 443\r\n",
        b"PROXY TCP6 192.0.2.9 198.51.100.1 4711 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.999 198.51.100.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.9 x 4711 443\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 \xb2 443\r\n",
        b"PROXY UDP4 192.0.2.9 198.51.100.1 4711 443\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 " + b"1" * MAX_V1_BYTES,
        b"PROXY UNKNOWN " + b"1" * MAX_V1_BYTES + b"\r\n",
        V2_START + b"\x11\x11\x00\x0c" + b"\0" * 12,
        V2_START + b"\x22\x11\x00\x0c" + b"\0" * 12,
        V2_START + b"\x21\x11\x00\x0b" + b"\0" * 11,
        V2_START + b"\x21\x21\x00\x0c" + b"\0" * 12,
        V2_START + b"\x21\x11" + struct.pack("!H", MAX_V2_BYTES) + b"\0" * MAX_V2_BYTES,
        b"GET / HTTP/1.1\r\n\r\n",
        b"proxy TCP4 192.0.2.9 198.51.100.1 4711 443\r\n",
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedHeader):
        read_header(data)


def test_random_bytes_behind_a_start_do_no_harm() -> None:
    chance = random.Random(7)
    for _ in range(20_000):
        data = chance.choice((b"PROXY ", V2_START)) + chance.randbytes(chance.randrange(60))
        try:
            found = read_header(data)
        except MalformedHeader:
            continue
        assert found is None or 0 < found.size <= len(data)


def test_of_an_incomplete_header_no_byte_of_what_follows_is_taken() -> None:
    header = v2()
    assert own_bytes(header[:20] + b"") == 20
    assert own_bytes(header[:16]) == 16
    assert own_bytes(V2_START + b"\x21\x11\x00\x02ab" + b"rest") == 18
