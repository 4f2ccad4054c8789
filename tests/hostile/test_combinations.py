"""Where parts meet: what each of them keeps out of logs, spans and services, they keep out together."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.hostile.rig import HANDSHAKE, SWITCHED, Client, Gateway, Start, emptied

SECRET = "S3cr3tS3cr3t"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.S3cr3tS3cr3tS3cr3t.S3cr3t"
ROUTES = """
routes:
  - {id: open, uri: "lb://service", predicates: ["Path=/open/**"]}
  - {id: docs, uri: "lb://service", predicates: ["Path=/svc/v3/api-docs/**"]}
  - {id: dead, uri: "http://127.0.0.1:1", predicates: ["Path=/dead/v3/api-docs/**"]}
  - {id: gated, uri: "lb://service", predicates: ["Path=/gated/**"]}
  - {id: shaped, uri: "lb://service", predicates: ["Path=/shaped/**"],
     filters: ["AddRequestHeader=X-User-Id, filter", "MapRequestHeader=Cookie, X_User_Type"]}
services:
  service: ["%s"]
access:
  public: ["/open/**", "/dead/**", "/shaped/**", "GET /{service}/v3/api-docs/**"]
gates:
  - {room: default, calls: ["GET /gated/ws/**", POST /api/v1/reservations, "POST /api/v1/reservation-seats/**"]}
discovery: {locator: {enabled: true}}
"""
IDENTITY = (
    b"X-User-Id: admin\r\nx_user_id: admin\r\nX.User.Id: admin\r\nXUserId: admin\r\nX-User-Type: admin\r\n"
    b"X-Gateway-Signature: t=1\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /x\r\nX_Rewrite_Url: /x\r\n"
    b"Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_Host: evil\r\nX-B3-TraceId: 1\r\n"
    b"X_B3_TraceId: 1\r\nB3: 0\r\nTrace-State: a\r\n"
)


class Spans:
    """Everything that was posted to a collector."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.heads: list[str] = []


@contextmanager
def a_collector() -> Iterator[Spans]:
    spans = Spans()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            spans.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            spans.heads.append(str(self.headers))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            # As Eureka: away to somewhere else. As Config Server: away, since nothing is served after any other answer.
            self.send_response(302 if self.path.startswith("/eureka") else 503)
            self.send_header("Location", f"http://u:{SECRET}@127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        spans.url = f"u:{SECRET}@127.0.0.1:{server.server_address[1]}"
        try:
            yield spans
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def spans() -> Iterator[Spans]:
    with a_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def all_parts(start: Start, spans: Spans) -> Gateway:
    """A gateway with every part switched on, whose servers are not what they should be."""
    return start(
        "c",
        routes=ROUTES,
        zipkin_endpoint=f"http://{spans.url}/api/v2/spans",
        tracing_sampling_probability="1",
        eureka_client_serviceurl_defaultzone=f"http://{spans.url}/eureka/",
        spring_config_import=f"optional:configserver:http://{spans.url}",
        config_server_webhook_secret=SECRET,
        management_token=SECRET,
        identity_hmac_secret=SECRET,
    )


@pytest.fixture
def gateway(all_parts: Gateway) -> Gateway:
    return emptied(all_parts)


def websocket(gateway: Gateway, target: str, *headers: bytes) -> bytes:
    """The head that answers a handshake."""
    gateway.upstream.answers[target] = (SWITCHED, False)
    with gateway.client() as client:
        client.send(
            b"GET %b HTTP/1.1\r\nHost: h\r\n" % target.encode() + HANDSHAKE + b"".join(headers) + b"\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head and (data := client.socket.recv(65536)):
            head += data
        return head


@pytest.mark.parametrize("target", ["/open/ws", "/shaped/ws", "/svc/v3/api-docs"])
def test_no_spelling_of_an_identity_goes_through_a_new_path(gateway: Gateway, target: str) -> None:
    if target.startswith("/svc"):
        gateway.ask(target, IDENTITY)
    else:
        assert websocket(gateway, target, IDENTITY).startswith(b"HTTP/1.1 101 ")
    (seen,), faults = gateway.behind()
    assert not faults
    letters = ["".join(filter(str.isalnum, name)).lower() for name, _ in seen.headers]
    assert not {
        "xuserid",
        "xusertype",
        "xhttpmethodoverride",
        "xoriginalurl",
        "xrewriteurl",
    } & set(letters)
    assert letters.count("xgatewaysignature") == letters.count("traceparent") == 1
    assert not {"xb3traceid", "b3"} & set(letters)
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"]
    assert letters.count("xforwardedhost") == 1
    for forged in (b"admin", b"1.2.3.4", b"evil"):
        assert forged not in seen.raw


@pytest.mark.parametrize(
    "target",
    ["/gated/ws", "/service/gated/ws", "/GATED/ws", "/gated/ws/", "/%67ated/ws", "/service/%67ated/ws"],
)
def test_no_handshake_reaches_a_gated_path_without_a_place(gateway: Gateway, target: str) -> None:
    without = websocket(gateway, target)
    token = websocket(gateway, f"{target}?access_token={TOKEN}")
    stranger = websocket(gateway, target, gateway.bearer("stranger"))
    assert (without[:13], token[:13]) == (b"HTTP/1.1 401 ",) * 2
    assert stranger[:13] in (b"HTTP/1.1 403 ", b"HTTP/1.1 404 ")
    assert gateway.behind() == ([], [])


@pytest.mark.parametrize(
    "trace",
    [
        b"traceparent: 00-"
        + b"a" * 32
        + b"-"
        + b"b" * 16
        + b"-01\r\ntracestate: "
        + b"a=b," * 2000
        + b"\r\n",
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\ntracestate: a=\xff\r\n",
        b"traceparent: 00-" + "à".encode() * 32 + b"-" + b"b" * 16 + b"-01\r\n",
        b"b3: " + b"-" * 4000 + b"\r\n",
        b"X-Trace-Id: forged\r\n",
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n" * 2,
    ],
)
def test_no_trace_of_a_client_breaks_a_request_or_goes_on_as_it_is(gateway: Gateway, trace: bytes) -> None:
    answer = gateway.ask("/open/trace", trace)
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert len(answer.headers["x-trace-id"]) == 32
        (seen,), _ = gateway.behind()
        assert len(seen.values("traceparent")) == 1
        assert not seen.values("tracestate")


def test_no_secret_comes_out_of_any_part(gateway: Gateway, spans: Spans) -> None:
    for target in ("/open/ws", "/gated/ws", "/nowhere/ws"):
        websocket(gateway, f"{target}?access_token={TOKEN}&x={SECRET}", f"Cookie: a={SECRET}\r\n".encode())
    broken = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"S3cr3tS3cr3'
    gateway.upstream.answers[f"/svc/v3/api-docs?access_token={TOKEN}"] = (broken, True)
    for target in ("/svc/v3/api-docs", "/dead/v3/api-docs", "/v3/api-docs", "/swagger-ui/x"):
        answer = gateway.ask(f"{target}?access_token={TOKEN}", f"Origin: https://{SECRET}\r\n".encode())
        assert SECRET.encode() not in answer.body
    gateway.ask("/actuator/refresh", f"Authorization: Bearer {SECRET}\r\n".encode(), method="POST")
    gateway.ask("/actuator/refresh/webhook", f"X-Hub-Signature-256: {SECRET}\r\n".encode(), method="POST")
    for target in ("/actuator/health", "/metrics", "/actuator/gateway/routes", "/actuator/info"):
        answer = gateway.ask(target)
        assert answer.status == 200
        assert SECRET.encode() not in answer.body
        assert TOKEN.encode() not in answer.body
    limit = time.monotonic() + 20
    while not any(b"open" in body for body in spans.bodies):
        assert time.monotonic() < limit
        time.sleep(0.05)
    health = json.loads(gateway.ask("/actuator/health").body)["components"]
    assert health["eureka"]["status"] == health["configServer"]["status"] == "UNKNOWN"
    for text in (gateway.log.read_text(), b"".join(spans.bodies).decode()):
        assert SECRET not in text
        assert TOKEN not in text
        assert "Traceback" not in text


@pytest.mark.parametrize("parser", ["c", "python"])
def test_a_stop_under_websockets_and_streams_without_readers_ends_well(
    start: Start, spans: Spans, parser: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        port = hangs.getsockname()[1]
        gateway = start(
            parser,
            routes=ROUTES,
            redis_key_prefix="stop:",
            shutdown_grace_seconds="2",
            eureka_client_serviceurl_defaultzone=f"http://127.0.0.1:{port}/eureka/",
            zipkin_endpoint=f"http://127.0.0.1:{port}/api/v2/spans",
            tracing_sampling_probability="1",
            allowed_in_max_capacity="0",
        )
        emptied(gateway)
        gateway.upstream.answers["/open/flood"] = (SWITCHED + b"x" * (16 << 20), True)
        held: list[Client] = []
        try:
            for number in range(6):
                bearer = gateway.bearer(f"user-{number}")
                assert gateway.ask("/api/v1/queue/lineup", bearer, method="POST").status == 200
                stream, flooded = gateway.client(), gateway.client()
                held += [stream, flooded]
                stream.send(b"GET /api/v1/queue/stream HTTP/1.1\r\nHost: h\r\n" + bearer + b"\r\n")
                flooded.send(b"GET /open/flood HTTP/1.1\r\nHost: h\r\n" + HANDSHAKE + b"\r\n")
                assert stream.socket.recv(12) == flooded.socket.recv(12)[:8] + b" 200"
            began = time.monotonic()
            gateway.process.terminate()
            assert gateway.process.wait(20) == 0
            assert time.monotonic() - began < 8
        finally:
            for client in held:
                client.socket.close()
    assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize(
    "target",
    [
        "/service/api/v1/reservations",
        "/service/api/v1/reservations/",
        "/service/API/V1/Reservations",
        "/SERVICE/api/v1/reservations",
        "/service/api/v1/%72eservations",
        "/service//api/v1/reservations",
        "//service/api/v1/reservations",
        "/service/service/../api/v1/reservations",
        "/service/api/v1/reservation-seats/1/hold",
        "/service;x/api/v1/reservations",
        "/service/v3/api-docs/../../api/v1/reservations",
    ],
)
def test_no_discovered_route_leads_round_the_gate(gateway: Gateway, target: str) -> None:
    for headers in (b"", gateway.bearer("stranger"), IDENTITY + gateway.bearer("stranger")):
        answer = gateway.ask(target, headers, b"Content-Length: 0\r\n", method="POST")
        assert answer.status in (400, 401, 403, 404)
    assert gateway.behind() == ([], [])
