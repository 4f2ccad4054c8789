"""Who the client is: what peers say counts only as far as they are trusted."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import count

import pytest

from gateway.proxy import forwarded
from gateway.proxy.forwarded import TrustedProxies, forwarded_headers, origin
from tests.support.effort import least_seconds

TRUSTED = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def seen(peer: str, *headers: tuple[str, str], trusted: TrustedProxies = TRUSTED, scheme: str = "http"):
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return origin(raw, peer=peer, scheme=scheme, host="gw.test:8080", trusted=trusted)


@pytest.mark.parametrize(
    ("peer", "claims", "client", "chain"),
    [
        ("203.0.113.9", [], "203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, 10.0.0.2"], "1.2.3.4", "1.2.3.4, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["unknown"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "unknown", "unknown, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, garbage, 10.0.0.2"], "unknown", "unknown, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4,"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", [",1.2.3.4 ,\t, "], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4", ""], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, , 10.0.0.2,,"], "1.2.3.4", "1.2.3.4, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", [""], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", [", ,"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", [",", ""], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2,,"], "10.0.0.2", "10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4" + "," * 15], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4" + "," * 16], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["10.0.0.1," * 40 + "1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["10.0.0.1," * 40], "unknown", "unknown, " + "10.0.0.1, " * 15 + "10.0.0.1"),
        ("10.0.0.1", ["1" * 129], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4:_hidden"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4:port"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4:123456"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4%eth0"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4\u00a0"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["01.2.3.4"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["localhost"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]x"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["[]"], "unknown", "unknown, 10.0.0.1"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1", "fe80::1, 10.0.0.1"),
        ("10.0.0.1", ["[fe80::1%25eth0]:80"], "fe80::1", "fe80::1, 10.0.0.1"),
        ("10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", ["[2001:DB8::1]:99"], "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        ("10.0.0.1", ["2001:db8:0::1"], "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        ("fd00::1%eth0", ["1.2.3.4"], "1.2.3.4", "1.2.3.4, fd00::1"),
        ("", ["1.2.3.4"], "unknown", "unknown"),
    ],
)
def test_the_client_is_the_first_untrusted_from_the_right(
    peer: str, claims: list[str], client: str, chain: str
) -> None:
    found = seen(peer, *(("X-Forwarded-For", claim) for claim in claims))
    assert (found.address, ", ".join(found.chain)) == (client, chain)
    said = dict(forwarded_headers(found))
    assert said[b"X-Forwarded-For"] == chain.encode()
    assert said[b"X-Real-IP"] == client.encode()


@pytest.mark.parametrize(
    ("headers", "scheme", "host", "port"),
    [
        ({"X-Forwarded-Proto": "https,"}, "https", "gw.test:8080", "8080"),
        ({"X-Forwarded-Host": "shop.test, "}, "http", "shop.test", "80"),
        ({"X-Forwarded-Port": ",8443,"}, "http", "gw.test:8080", "8443"),
        ({"X-Forwarded-For": "1.2.3.4,", "X-Forwarded-Proto": "https,"}, "https", "gw.test:8080", "8080"),
        ({}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Proto": "https"}, "https", "gw.test:8080", "8080"),
        ({"X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "shop.test"}, "https", "shop.test", "443"),
        ({"X-Forwarded-Proto": "gopher"}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Host": "a b"}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Host": 'x";for=1.1.1.1'}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Port": "8443"}, "http", "gw.test:8080", "8443"),
        ({"X-Forwarded-Port": "x"}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Port": "65535"}, "http", "gw.test:8080", "65535"),
        ({"X-Forwarded-Port": "65536"}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Port": "0"}, "http", "gw.test:8080", "8080"),
        ({"X-Forwarded-Host": "shop.test:99999"}, "http", "shop.test:99999", "80"),
        ({"X-Forwarded-Proto": "wss"}, "https", "gw.test:8080", "8080"),
        ({"X-Forwarded-Proto": "WSS", "X-Forwarded-Host": "shop.test"}, "https", "shop.test", "443"),
        ({"X-Forwarded-Proto": "ws", "X-Forwarded-Host": "shop.test"}, "http", "shop.test", "80"),
        ({"Forwarded": "proto=wss;host=shop.test"}, "https", "shop.test", "443"),
        ({"Forwarded": "for=1.2.3.4;proto=ws;host=shop.test"}, "http", "shop.test", "80"),
        ({"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "evil, https"}, "https", "gw.test:8080", "8080"),
        (
            {"X-Forwarded-For": "1.2.3.4, 10.0.0.2", "X-Forwarded-Proto": "https, http"},
            "https",
            "gw.test:8080",
            "8080",
        ),
    ],
)
def test_a_trusted_peer_says_how_the_client_came(
    headers: dict[str, str], scheme: str, host: str, port: str
) -> None:
    found = seen("10.0.0.1", *headers.items())
    assert (found.scheme, found.host, found.port) == (scheme, host, port)


def test_an_untrusted_peer_says_nothing() -> None:
    lies = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("Forwarded", "for=1"),
    ]
    assert seen("203.0.113.9", *lies) == seen("203.0.113.9")


def test_forwarded_counts_where_x_forwarded_for_is_missing() -> None:
    standard = ("Forwarded", 'for="[2001:db8::7]:47011";proto=https;host="shop.test", for=10.0.0.2')
    found = seen("10.0.0.1", standard)
    assert (found.address, found.scheme, found.host) == ("2001:db8::7", "https", "shop.test")
    assert seen("10.0.0.1", standard, ("X-Forwarded-For", "1.2.3.4")).address == "1.2.3.4"


@pytest.mark.parametrize("usual", ["", ",", "1.2.3.4"])
def test_forwarded_of_a_client_counts_for_nothing_beside_an_x_forwarded_for(usual: str) -> None:
    found = seen("10.0.0.1", ("Forwarded", "for=6.6.6.6;proto=https"), ("X-Forwarded-For", usual))
    assert (found.address, found.scheme) == (usual.strip(",") or "unknown", "http")


def test_what_a_proxy_says_beside_a_forwarded_is_not_lost() -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.test", "X-Forwarded-Port": "8443"}
    found = seen("10.0.0.1", *said.items(), ("Forwarded", "for=1.2.3.4;proto=http;host=evil"))
    assert (found.address, found.scheme, found.host, found.port) == ("1.2.3.4", "https", "shop.test", "8443")
    half = seen(
        "10.0.0.1", ("X-Forwarded-Host", "shop.test"), ("Forwarded", "for=1.2.3.4;proto=https;host=evil")
    )
    assert (half.address, half.scheme, half.host) == ("1.2.3.4", "https", "shop.test")


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        ([" 203.0.113.9\t"], "203.0.113.9"),
        (["2001:DB8::7"], "2001:db8::7"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        (["10.0.0.2"], "10.0.0.2"),
        ([""], "unknown"),
        (["unknown"], "unknown"),
        (["203.0.113.9:80"], "unknown"),
        (["[2001:db8::7]"], "unknown"),
        (['"203.0.113.9"'], "unknown"),
        (["203.0.113.9, 203.0.113.9"], "unknown"),
        (["203.0.113.9,"], "unknown"),
        (["203.0.113.9", "203.0.113.9"], "unknown"),
        (["203.0.113.9", ""], "unknown"),
        (["1" * 200], "unknown"),
    ],
)
def test_x_real_ip_names_the_client_where_nothing_else_does(values: list[str], address: str) -> None:
    said = [("X-Real-IP", value) for value in values]
    found = seen("10.0.0.1", *said, ("X-Forwarded-Proto", "https"))
    assert (found.address, found.scheme) == (address, "https")
    assert found.chain == (address, "10.0.0.1")
    assert seen("203.0.113.9", *said).address == "203.0.113.9"
    for name, value in (("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=1.2.3.4")):
        assert seen("10.0.0.1", *said, (name, value)).address == "1.2.3.4"
    for name, value in (("X-Forwarded-For", ","), ("Forwarded", "garbage")):
        assert seen("10.0.0.1", *said, (name, value)).address == "unknown"


COMMAS = "," * 17
HOSTILE = {
    "one element of nothing": COMMAS + ";" * 8100 + '"',
    "blanks": ";" + " " * 8000 + '"',
    "blanks around": (" " * 400 + ";") * 20 + '"',
    "pairs": "a=;" * 2700 + '"',
    "quotes": 'a=",' * 2000,
    "open quotes": 'a="\\",' * 1300,
    "a long name": COMMAS + "a" * 8000,
    "commas": "," * 8100,
    "sound": "for=10.0.0.1," * 620,
    "sound pairs": "a=b;" * 2000 + "for=10.0.0.1",
}


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"])
@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_no_line_takes_long_to_read(name: str, line: str) -> None:
    """One request with such lines held the event loop for a second."""
    lines = [(name, line)] * 7
    found = seen("10.0.0.1", *lines)
    assert found.address in {"unknown", "10.0.0.1"}
    assert len(found.chain) <= 18
    numbers = count()

    def read() -> None:
        """Each time other lines, since what they say is remembered."""
        number = next(numbers)
        seen("10.0.0.1", *((name, f"{line}{number}") for name, line in lines))

    assert least_seconds(read, 0.01) < 0.01


def test_what_is_not_read_of_a_forwarded_is_unknown() -> None:
    """Never the proxy that stands at the edge of what is read."""
    for left in ('for="', "for=10.0.0.3;x=" + "y" * 2100 + ", for=10.0.0.3", "for=10.0.0.3, " * 20):
        found = seen("10.0.0.1", ("Forwarded", left + ", for=10.0.0.2"))
        assert found.address == "unknown", left
        assert found.chain[-2:] == ("10.0.0.2", "10.0.0.1")
        assert seen("10.0.0.1", ("Forwarded", left + ", for=1.2.3.4")).address == "1.2.3.4"
    lines = [("Forwarded", 'for="'), ("Forwarded", 'for="[2001:db8::7]"'), ("Forwarded", "for=10.0.0.2")]
    assert seen("10.0.0.1", *lines).chain == ("2001:db8::7", "10.0.0.2", "10.0.0.1")


def test_an_ipv6_client_is_quoted_and_a_strange_host_left_out() -> None:
    found = origin([], peer="2001:db8::1", scheme="http", host='h"x', trusted=TRUSTED)
    said = dict(forwarded_headers(found))
    assert said[b"Forwarded"] == b'proto=http;for="[2001:db8::1]"'


def test_no_proxy_is_trusted_by_default() -> None:
    nobody = TrustedProxies()
    assert "127.0.0.1" not in nobody
    assert "10.0.0.1" in TRUSTED
    assert "fd00::1" in TRUSTED
    assert "no address" not in TRUSTED


@pytest.mark.parametrize(
    ("forwarded", "address", "scheme", "host"),
    [
        ("for=6.6.6.6;proto=https;host=evil, for=1.2.3.4", "1.2.3.4", "http", "us.example"),
        ('for="x, for="[2001:db8::7]"', "2001:db8::7", "http", "us.example"),
        ('for=1.2.3.4;x="a;for=7.7.7.7"', "1.2.3.4", "http", "us.example"),
        ('for=6.6.6.6;host="a,b", for=1.2.3.4;proto=https;host=h', "1.2.3.4", "https", "h"),
        ("for=1.2.3.4;proto=https, for=10.0.0.9;proto=http", "1.2.3.4", "https", "us.example"),
        (";;,,", "unknown", "http", "us.example"),
        ("", "unknown", "http", "us.example"),
        ('for="1.2.3.4";by=_x;proto="https"', "1.2.3.4", "https", "us.example"),
        ("," * 8000 + '"', "unknown", "http", "us.example"),
        ("for=1.2.3.4,", "1.2.3.4", "http", "us.example"),
        (", for=1.2.3.4;proto=https ,,", "1.2.3.4", "https", "us.example"),
        ("for=unknown", "unknown", "http", "us.example"),
        ("for=_hidden;proto=https", "unknown", "https", "us.example"),
        ("for=1.2.3.4, for=unknown", "unknown", "http", "us.example"),
        ('for="1.2.3.4:5678"', "1.2.3.4", "http", "us.example"),
        ('for="[2001:db8::7]:_p"', "2001:db8::7", "http", "us.example"),
        ("for=1.2.3.4, proto=https", "unknown", "https", "us.example"),
        ("proto=https;host=shop.test", "10.0.0.1", "https", "shop.test"),
        ("garbage", "unknown", "http", "us.example"),
        ('for="1.2.3.4', "unknown", "http", "us.example"),
    ],
)
def test_each_element_of_forwarded_speaks_of_its_own_hop_only(
    forwarded: str, address: str, scheme: str, host: str
) -> None:
    trusted = TrustedProxies([ip_network("10.0.0.0/8")])
    seen = origin(
        [(b"Forwarded", forwarded.encode())],
        peer="10.0.0.1",
        scheme="http",
        host="us.example",
        trusted=trusted,
    )
    assert (seen.address, seen.scheme, seen.host) == (address, scheme, host)


@pytest.mark.parametrize(
    ("network", "address", "trusted"),
    [
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::/0", "10.0.0.1", False),
        ("::/0", "2001:db8::1", True),
    ],
)
def test_an_ipv4_network_written_as_ipv6_means_the_same(network: str, address: str, trusted: bool) -> None:
    assert (address in TrustedProxies([ip_network(network)])) is trusted


def test_only_what_all_of_it_says_again_is_known_from_before(monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = TrustedProxies([ip_network("10.0.0.0/8")])
    reads, read = [], forwarded._read_report

    def counted(report: forwarded.Report) -> dict[str, list[str]]:
        reads.append(report)
        return read(report)

    monkeypatch.setattr(forwarded, "_read_report", counted)
    lines = [(b"X-Forwarded-For", b"1.2.3.4"), (b"x-forwarded-for", b"10.9.9.9"), (b"X-Forwarded-Host", b"a")]
    usual = {"peer": "10.0.0.1", "scheme": "http", "host": "gw.test"}

    def of(raw: list[tuple[bytes, bytes]], **changed: str) -> forwarded.Origin:
        return origin(raw, trusted=trusted, **(usual | changed))

    assert of(lines) == of([(b"Accept", b"*/*"), *lines]) == of(lines)
    assert len(reads) == 1
    others = [
        of(lines[:2]),
        of([lines[1], lines[0], lines[2]]),
        of([lines[0], lines[2], (b"X-Forwarded-Port", b"81")]),
        of([(b"X-Real-IP", b"1.2.3.5")]),
        of([(b"X-Forwarded-Proto", b"https"), *lines]),
        of(lines, peer="10.0.0.2"),
        of(lines, host="other.test"),
        of([lines[0]], scheme="https"),
        of([lines[0]]),
    ]
    assert len(reads) == 10
    # The other host counts only where none is reported.
    assert len({of(lines), *others}) == 9
    assert of(lines, peer="11.0.0.1").address == "11.0.0.1"
    assert len(reads) == 10
    # Another trust is another cache.
    assert origin(lines, trusted=TrustedProxies([ip_network("10.0.0.1")]), **usual).address == "10.9.9.9"


def test_a_long_report_is_read_anew() -> None:
    trusted = TrustedProxies([ip_network("10.0.0.0/8")])
    said = b"6.6.6.6, " * 40 + b"1.2.3.4"
    for _ in range(2):
        found = origin(
            [(b"X-Forwarded-For", said)], peer="10.0.0.1", scheme="http", host="a", trusted=trusted
        )
        assert found.address == "1.2.3.4"
    assert trusted._origins.cache_info().currsize == 0
