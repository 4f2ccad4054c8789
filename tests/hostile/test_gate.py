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

from tests.hostile.calls import OTHER_CALLS, ROUND_THE_GATE
from tests.hostile.rig import Gateway, Start, request


@pytest.mark.parametrize("call", ROUND_THE_GATE)
def test_a_user_who_is_not_allowed_in_reaches_no_gated_call(one_gateway: Gateway, call: str) -> None:
    for who in (one_gateway.bearer("stranger"), b""):
        sent = request(f"{call} HTTP/1.1", who, b"Content-Length: 0\r\n")
        talk = one_gateway.talk([sent], answers=1)
        assert talk.statuses[0] in ({400, 403, 404} if who else {400, 401, 404}), talk
        if talk.statuses == [403]:
            assert talk.answers[0].code == "NOT_IN_QUEUE"
        assert one_gateway.behind() == ([], [])


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
            *(
                "host",
                "authorization",
                "x-user-id",
                "x-user-type",
                "traceparent",
                "forwarded",
                "x-real-ip",
                "via",
            ),
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
