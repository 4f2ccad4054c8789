"""No spelling of a gated call gets round the gate, and no header makes another call of one."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from tests.hostile.conftest import Start
from tests.hostile.rig import Gateway, request

ROUND_THE_GATE = [
    "POST /api/v1/reservations",
    "POST /api/v1/reservations/",
    "POST /api/v1/reservations?x=1",
    "POST /api/v1/reservations?",
    "POST /api/v1/Reservations",
    "POST /API/v1/reservations",
    "POST /API/V1/RESERVATIONS/",
    "POST /api/v1/%72eservations",
    "POST /api/v1/reservation%73/",
    "POST /%61pi/v1/reservations",
    "POST /api/v1/reservation-seats",
    "POST /api/v1/reservation-seats/",
    "POST /api/v1/reservation-seats/7",
    "POST /api/v1/reservation-seats/7/hold",
    "POST /api/v1/Reservation-Seats/7",
    "POST /api/v1/reservation%2dseats/7",
    "POST /api/v1//reservations",
    "POST //api/v1/reservations",
    "POST /api/v1/./reservations",
    "POST /api/v1/x/../reservations",
    "POST /open/../api/v1/reservations",
    "POST /open/%2e%2e/api/v1/reservations",
    "POST /open/..%2fapi/v1/reservations",
    "POST /api/v1/reservations;a=b",
    "POST /api/v1;x/reservations",
    "POST /api/v1/reservations%00",
    "POST /api/v1/reservations%20",
    "POST /api/v1/reservations%0a",
    "POST /api/v1/reservations%09",
    "POST /api/v1/reservations%2f",
    "POST /api/v1/reservations%3b",
    "POST /api/v1/%2572eservations",
    "POST /api/v1/reservations#x",
    "POST /api/v1\\reservations",
    "POST /api%5cv1/reservations",
    "POST /api/v1/%ef%bd%92eservations",
    "POST /shop/reservations",
    "POST /shop/reservations/",
    "POST /shop/Reservations",
    "POST /shop/%72eservations",
    "POST /shop/reservation-seats/7",
    "POST /shop/open/../reservations",
    "POST /x/api/v1/reservations",
    "POST /x/api/v1/reservation-seats/7",
    "POST /x/API/v1/reservations",
    "POST /x//api/v1/reservations",
    "POST /buy/reservations",
    "POST /buy/Reservations",
    "POST /buy/%72eservations",
    "POST /buy/reservations%2f",
    *(
        f"POST {path}{end}"
        for path in (
            "/api/v1/reservations",
            "/shop/reservations",
            "/x/api/v1/reservations",
            "/buy/reservations",
        )
        for end in (
            *(
                ".json",
                ".xml",
                ".anything",
                ".JSON",
                ".",
                "...",
                ".json/",
                ".json.",
                ".tar.gz",
                "%2ejson",
                "/.json",
            ),
            *(
                "%20",
                "%20.json",
                ".json%20",
                ".%20json",
                "%20/",
                "/%20",
                "%c2%a0",
                "%e3%80%80",
                "+",
                "%2b",
                "+.json",
            ),
            *(
                "%e2%80%8b",
                "%ef%bb%bf",
                "%c2%ad",
                "%e2%81%a0",
                "%ef%b8%8f",
                "%e2%80%ae",
                "%f3%a0%80%a0",
                "%e3%85%a4",
            ),
            *(
                ".%e2%80%8bjson",
                ".json%e2%80%8b",
                "%e2%80%8b/",
                "/%e2%80%8b",
                "%e2%80%a8",
                "%e2%a0%80",
                "%cd%8f",
            ),
            *(
                "%3f",
                "%3fx",
                "%3fx.json",
                "%3fx/y",
                "%23",
                "%23x",
                "%20%3fx",
                ".json%3f",
                "/%3fx",
                "%ef%bc%9fx",
            ),
            *("%3b", "%3bx", "%3bx=1.json", ".json%3bx", "%3b%20", "/%3bx", ";x", ";x.json", "%ef%bc%9bx"),
            *("%ef%bc%8ejson", "%e2%80%a4json", "%20%e2%80%8b.json%20%3fx%3by/"),
        )
    ),
    "POST /api/v1.json/reservations",
    "POST /api%20/v1/reservations",
    "POST /%e2%80%8b/api/v1/reservations.json",
    "POST /api/v1/%20/reservations",
    "POST /api/v1/reser%c2%advations.json",
    "POST /api/v1%3bx/reservations%20",
    "POST /api/v1/reservation-seats.json",
    "POST /api/v1/reservation-seats.json/7",
    "POST /api/v1/reservation-seats%20/7",
    "POST /api/v1/reservation-seats%e2%80%8b/7.json",
    "POST /open/.%e2%80%8b./api/v1/reservations",
    "POST /open/.%20./api/v1/reservations",
    "POST /open%3f/api/v1/reservations",
    "POST http://h/api/v1/reservations",
    "POST http://h/open/../api/v1/reservations",
    "POST HTTP://H/api/v1/reservations/",
]


@pytest.mark.parametrize("call", ROUND_THE_GATE)
def test_a_user_who_is_not_allowed_in_reaches_no_gated_call(one_gateway: Gateway, call: str) -> None:
    for who in (one_gateway.bearer("stranger"), b""):
        sent = request(f"{call} HTTP/1.1", who, b"Content-Length: 0\r\n")
        talk = one_gateway.talk([sent], answers=1)
        assert talk.statuses[0] in ({400, 403, 404} if who else {400, 401, 404}), talk
        if talk.statuses == [403]:
            assert talk.answers[0].code == "NOT_IN_QUEUE"
        assert one_gateway.behind() == ([], [])


OTHER_CALLS = [
    b"X-HTTP-Method-Override: POST\r\n",
    b"X-HTTP-Method: POST\r\n",
    b"X-Method-Override: POST\r\n",
    b"x_http_method_override: POST\r\n",
    b"X.HTTP.Method.Override: POST\r\n",
    *(
        f"{name}: POST\r\n".encode()
        for name in (
            "X-Envoy-Original-Method",
            "X-Forwarded-Method",
            "X-Original-Method",
            "x_original_method",
            "X-Override-Method",
        )
    ),
    *(
        f"{name}: /api/v1/reservations\r\n".encode()
        for name in (
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-Original-Url",
            "X-Original-URI",
            "x_original_uri",
            "XOriginalUri",
            "X-Original-Path",
            "X-Request-URI",
            "X-Forwarded-Uri",
            "X_Forwarded_Uri",
            "XForwardedUri",
            "X-Forwarded-Url",
            "X-Replaced-Path",
            "X-Envoy-Original-Path",
            "X-Matched-Path",
            "X-Invoke-Path",
            "X-Astro-Path",
            "Path-Info",
            "PATH_INFO",
            "X-Path-Info",
        )
    ),
    *(
        f"{name}: /api\r\n".encode()
        for name in (
            "Script-Name",
            "SCRIPT_NAME",
            "script.name",
            "X-Script-Name",
            "x_script_name",
            "X-Forwarded-Script-Name",
            "X-Forwarded-Path",
            "X-Traversal-Path",
            "X-VHM-Root",
            "Daphne-Root-Path",
            "daphne_root_path",
        )
    ),
    b"X-Original-Url: /api/v1/reservations\r\nConnection: close, X-Original-Url\r\n",
    b"X-Script-Name: /api\r\nConnection: close, X-Script-Name\r\n",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_headers_make_no_other_call_of_one_that_is_free(one_gateway: Gateway, method: str) -> None:
    for header in OTHER_CALLS:
        one_gateway.ask("/api/v1/reservations", one_gateway.bearer("stranger"), header, method=method)
    seen, faults = one_gateway.behind()
    assert faults == []
    assert [str(one) for one in seen] == [f"{method} /api/v1/reservations"] * len(OTHER_CALLS)
    for one in seen:
        names = {name.lower() for name, _ in one.headers}
        assert names - {"connection", "content-length"} == {
            *("host", "authorization", "x-user-id", "x-user-type", "traceparent", "forwarded", "x-real-ip"),
            *(f"x-forwarded-{fact}" for fact in ("for", "host", "port", "proto")),
        }, one.raw
        assert b"reservations" not in one.raw.partition(b"\r\n")[2]


BEGINNINGS = ("HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_SCRIPT_NAME", "HTTP_X_FORWARDED_PATH")
PATHS = ("HTTP_X_ORIGINAL_URI", "HTTP_X_FORWARDED_URI", "HTTP_X_REPLACED_PATH")
METHODS = ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_FORWARDED_METHOD")


def believing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI service that takes headers for what a proxy has said, and answers which call it has served."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    for name in BEGINNINGS:
        path = path.removeprefix(environ.get(name, ""))
    path = next((environ[name] for name in PATHS if name in environ), path)
    method = next((environ[name] for name in METHODS if name in environ), method)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{method} {path}".encode()]


class _Threads(socketserver.ThreadingMixIn, WSGIServer):
    pass


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def wsgi() -> Iterator[int]:
    """The port of that service."""
    with make_server("127.0.0.1", 0, believing, server_class=_Threads, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def before_wsgi(start: Start, wsgi: int) -> Gateway:
    routes = f"""
routes:
  - {{id: prefixed, uri: "http://127.0.0.1:{wsgi}", predicates: ["Path=/x/**"]}}
  - id: mounted
    uri: "http://127.0.0.1:{wsgi}"
    predicates: ["Path=/mounted/**"]
    filters: ["SetRequestHeader=X-Script-Name, /mounted"]
services: {{other: ["%s"]}}
gates: [{{calls: [POST /sale, DELETE /x/sale]}}]
"""
    return start("c", routes=routes)


WSGI_CALLS = [
    *(("POST", f"{name}: /x") for name in ("X-Script-Name", "x_script_name", "X-Forwarded-Script-Name")),
    *(("POST", f"{name}: /x") for name in ("X-Forwarded-Path", "X_Forwarded_Path")),
    *(("POST", f"{name}: /sale") for name in ("X-Original-URI", "X-Forwarded-Uri", "X-Replaced-Path")),
    *(("GET", f"{name}: DELETE") for name in ("X-Original-Method", "X_Forwarded_Method")),
]


@pytest.mark.parametrize(("method", "header"), WSGI_CALLS)
def test_a_service_that_believes_such_headers_serves_the_call_that_was_judged(
    before_wsgi: Gateway, wsgi: int, method: str, header: str
) -> None:
    with closing(HTTPConnection("127.0.0.1", wsgi, timeout=10)) as alone:
        name, _, value = header.partition(": ")
        alone.request(method, "/x/sale", headers={name: value})
        assert alone.getresponse().read() in {b"POST /sale", b"DELETE /x/sale"}, "or it believes nothing"
    who = before_wsgi.bearer("stranger")
    answer = before_wsgi.ask("/x/sale", who, f"{header}\r\n".encode(), method=method)
    assert (answer.status, answer.body) == (200, f"{method} /x/sale".encode())


def test_a_service_learns_from_its_route_where_it_is_mounted(before_wsgi: Gateway) -> None:
    who = before_wsgi.bearer("stranger")
    for header in (b"", b"X-Script-Name: /mounted/x\r\n", b"Connection: X-Script-Name\r\n"):
        assert before_wsgi.ask("/mounted/x/y", who, header).body == b"GET /x/y"


def test_a_user_who_is_allowed_in_gets_through(one_gateway: Gateway) -> None:
    who = one_gateway.bearer("insider")
    assert one_gateway.ask("/api/v1/queue/lineup", who, method="POST").status == 200
    for path in ("/api/v1/reservations", "/shop/reservations", "/x/api/v1/reservations", "/buy/reservations"):
        assert one_gateway.ask(path, who, b"Content-Length: 0\r\n", method="POST").status == 200
    assert len(one_gateway.behind()[0]) == 4


@pytest.mark.parametrize(
    "path",
    [
        "actuator",
        "actuator/",
        "actuator/env",
        "ACTUATOR/env",
        "Actuator/heapdump",
        "%61ctuator/env",
        "actuator/./env",
        "actuator.json",
        "actuator%20/env",
        "%20actuator/env",
        "act%c2%aduator/env",
        "actuator%e2%80%8b/env",
        "actuator%3bx/env",
        "actuator%3fx",
        "%e2%80%8b/actuator/env",
    ],
)
def test_no_route_leads_to_a_services_actuator(one_gateway: Gateway, path: str) -> None:
    for prefix in ("/x/", "/"):
        assert one_gateway.ask(f"{prefix}{path}", one_gateway.bearer()).status in {200, 400, 404}
    assert one_gateway.behind() == ([], [])
