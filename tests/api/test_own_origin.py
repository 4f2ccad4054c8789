"""The way back: only a path of this site, and only by ``Referer``."""

from __future__ import annotations

import pytest
from aiohttp import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.api.own_origin import page_before, referring_path, with_room
from gateway.context import RequestContext
from gateway.observability.tracing import TraceContext
from gateway.proxy.forwarded import Origin

OWN = "http://shop.example"


class Head:
    """The head of a request to ``shop.example``."""

    method, raw_path, version, remote, scheme = "POST", "/orders", HttpVersion11, "127.0.0.1", "http"
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, *referers: str, host: str = "shop.example") -> None:
        fields = [("Host", host), *(("Referer", each) for each in referers)]
        self.headers = CIMultiDictProxy(CIMultiDict(fields))


def context() -> RequestContext:
    return RequestContext(TraceContext("t" * 32, "s" * 16, None, False), "en", "127.0.0.1")


@pytest.mark.parametrize(
    ("referer", "path"),
    [
        (f"{OWN}/cart", "/cart"),
        (f"{OWN}/cart?a=1&b=%2F", "/cart?a=1&b=%2F"),
        (f"{OWN}/cart#part", "/cart"),
        (OWN, "/"),
        (f"{OWN}:80/cart", "/cart"),
        ("HTTP://SHOP.example/cart", "/"),
        ("https://shop.example/cart", "/"),
        ("http://shop.example:81/cart", "/"),
        ("http://evil.example/cart", "/"),
        ("http://shop.example@evil.example/", "/"),
        ("http://evil.example\\@shop.example/", "/"),
        (f"{OWN}//evil.example/", "/"),
        (f"{OWN}/\\evil.example/", "/"),
        (f"{OWN}/a\\b", "/"),
        (f"{OWN}/a b", "/"),
        (f"{OWN}/ä", "/"),
        (f"{OWN}.evil.example/cart", "/"),
        ("javascript:alert(1)", "/"),
        ("/cart", "/"),
        ("//evil.example/", "/"),
        ("", "/"),
        (f"{OWN}/" + "a" * 3000, "/"),
    ],
)
def test_a_path_of_this_site(referer: str, path: str) -> None:
    assert referring_path(Head(referer), context()) == path


def test_two_referers_or_none_lead_home() -> None:
    assert referring_path(Head(f"{OWN}/a", f"{OWN}/b"), context()) == "/"
    assert referring_path(Head(), context()) == "/"


def test_behind_a_proxy_the_origin_is_what_the_client_sees() -> None:
    made = context()
    made.origin = Origin("192.0.2.1", "https", "shop.example", "443", ())
    assert referring_path(Head("https://shop.example/cart", host="inner:8080"), made) == "/cart"
    assert referring_path(Head("http://inner:8080/cart", host="inner:8080"), made) == "/"


@pytest.mark.parametrize("path", ["/api/v1/queue/left", "/API/v1/queue/transfer?room=a"])
def test_from_the_gateways_own_pages_there_is_no_way_back(path: str) -> None:
    assert referring_path(Head(OWN + path), context()) == path
    assert page_before(Head(OWN + path), context()) == "/"


def test_a_path_for_a_room() -> None:
    assert with_room("/a", "default") == "/a"
    assert with_room("/a", "vip") == "/a?room=vip"
