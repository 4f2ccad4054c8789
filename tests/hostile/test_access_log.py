"""What the access log says of answers that came to their end, and of those that did not: size and mark."""

from __future__ import annotations

import json
import re
import socket
import time

import pytest

from tests.hostile.rig import HANDSHAKE, ROUTES, SECONDS, SWITCHED, Client, Gateway, Start, request

OK = b"HTTP/1.1 200 OK\r\n"
RESET = socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"


@pytest.fixture(scope="module")
def writing(start: Start) -> Gateway:
    """Both forms of the log say the same; this one is read more easily."""
    return start(
        "c", routes=ROUTES, log_format="json", redis_key_prefix="lines:", allowed_in_max_capacity="1"
    )


@pytest.fixture
def gateway(writing: Gateway) -> Gateway:
    writing.upstream.take()
    writing.upstream.answers.clear()
    return writing


def traced(number: int) -> tuple[bytes, str]:
    trace = f"{number:031x}a"
    return f"traceparent: 00-{trace}-00000000000000a1-00\r\n".encode(), trace


def line_of(gateway: Gateway, trace: str, seconds: float = 2 * SECONDS) -> tuple[int, int, str]:
    """Status, bytes and mark in the line of a request, as soon as it is there."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        for line in gateway.log.read_text().splitlines():
            if trace in line and '"logger": "access"' in line:
                facts = json.loads(line)
                return facts["status"], facts["bytes"], facts.get("end", "")
        time.sleep(0.02)
    raise AssertionError("no line")


def ended(client: Client) -> None:
    """Aborts the connection with a reset, so that nothing more of it is read."""
    client.socket.setsockopt(socket.SOL_SOCKET, *RESET)
    client.socket.close()


WHOLE = {
    "with its length": (OK + b"Content-Length: 40\r\n\r\n" + b"x" * 40, 200, 40),
    "in chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b"x" * 20 + b"\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n",
        200,
        40,
    ),
    "without any": (OK + b"Content-Length: 0\r\n\r\n", 200, 0),
    "that has none by its status": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n", 304, 0),
    "of many reads": (OK + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000, 200, 3_000_000),
}  # fmt: skip
BROKEN = {
    "with its length": OK + b"Content-Length: 100\r\n\r\n" + b"x" * 40,
    "in chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n28\r\n" + b"x" * 40 + b"\r\n",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_of_a_service_has_its_size(gateway: Gateway, name: str) -> None:
    raw, status, size = WHOLE[name]
    header, trace = traced(100 + list(WHOLE).index(name))
    gateway.upstream.answers["/open/whole"] = (raw, False)
    assert gateway.ask("/open/whole", header).status == status
    assert line_of(gateway, trace) == (status, size, "")


def test_the_answer_to_head_has_no_size(gateway: Gateway) -> None:
    header, trace = traced(1)
    gateway.upstream.answers["/open/head"] = (OK + b"Content-Length: 40\r\n\r\n", True)
    assert gateway.ask("/open/head", header, method="HEAD").status == 200
    assert line_of(gateway, trace) == (200, 0, "")


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_the_service_breaks_off_is_marked(gateway: Gateway, name: str) -> None:
    header, trace = traced(200 + list(BROKEN).index(name))
    gateway.upstream.answers["/open/broken"] = (BROKEN[name], False)
    with gateway.client() as client:
        client.send(request("GET /open/broken HTTP/1.1", header))
        assert client.answer() is None
    assert line_of(gateway, trace) == (200, 40, "broken")


def test_an_answer_that_the_client_does_not_wait_for_is_marked(gateway: Gateway) -> None:
    header, trace = traced(2)
    gateway.upstream.answers["/open/large"] = (
        OK + b"Content-Length: 50000000\r\n\r\n" + b"x" * 50_000_000,
        False,
    )
    with gateway.client() as client:
        client.send(request("GET /open/large HTTP/1.1", header))
        got = len(client.socket.recv(1000))
        ended(client)
    status, size, end = line_of(gateway, trace)
    assert (status, end) == (200, "aborted")
    assert got - 500 < size < 50_000_000


def test_a_request_whose_client_left_before_the_answer_is_marked(gateway: Gateway) -> None:
    header, trace = traced(3)
    # Announced, and never sent: there is no answer as long as the client waits.
    with gateway.client() as client:
        client.send(request("POST /open/a HTTP/1.1", header, b"Content-Length: 5\r\n", body=b"x"))
        ended(client)
    assert line_of(gateway, trace) == (499, 0, "aborted")


def test_an_own_answer_has_its_size(gateway: Gateway) -> None:
    for number, target in (
        (4, "/actuator/health"),
        (5, "/swagger-ui/swagger-ui.css"),
        (6, "/api/v1/queue/status"),
    ):
        header, trace = traced(number)
        answer = gateway.ask(target, header)
        assert line_of(gateway, trace) == (answer.status, len(answer.body), "")
        assert answer.body
        header, trace = traced(number + 10)
        assert gateway.ask(target, header, method="HEAD").status == answer.status
        assert line_of(gateway, trace) == (answer.status, 0, "")


def left_alone(gateway: Gateway, target: str, whole: int, first: int, count: int = 30) -> bool:
    """Asks so often that the kernel's buffers can't take all answers, reads none, and leaves. Returns whether an answer
    was under way, and holds its line; between two of them there is none."""
    requests = [traced(first + number) for number in range(count)]
    with gateway.client() as client:
        client.send(b"".join(request(f"GET {target} HTTP/1.1", header) for header, _ in requests))
        assert line_of(gateway, requests[0][1]) == (200, whole, "")
        ended(client)
    for _, trace in requests[1:]:
        try:
            status, size, end = line_of(gateway, trace, 3.0)
        except AssertionError:
            return False
        if end:
            assert (status, end) in {(200, "aborted"), (499, "aborted")}
            assert size < whole
            return True
        assert (status, size) == (200, whole)
    raise AssertionError("all were taken")


def test_an_own_answer_that_the_client_does_not_take_is_marked(gateway: Gateway) -> None:
    target = "/swagger-ui/swagger-ui-bundle.js"
    whole = len(gateway.ask(target).body)
    assert any(left_alone(gateway, target, whole, 1000 * attempt) for attempt in range(1, 6))


def stream_body(data: bytes) -> bytes:
    """What the chunks in ``data`` hold."""
    body = b""
    while data:
        line, _, rest = data.partition(b"\r\n")
        size = int(line, 16)
        body, data = body + rest[:size], rest[size + 2 :]
    return body


def test_a_stream_has_its_size_and_is_marked_if_the_client_left(gateway: Gateway) -> None:
    first, second = gateway.bearer("first"), gateway.bearer("second")
    gateway.ask("/api/v1/queue/lineup", first, method="POST")
    gateway.ask("/api/v1/queue/lineup", second, method="POST")
    header, trace = traced(40)
    answer = gateway.ask("/api/v1/queue/stream", first, header)
    assert b"ALLOWED_IN" in answer.body
    assert line_of(gateway, trace) == (200, len(answer.body), "")
    header, trace = traced(41)
    with gateway.client() as client:
        client.send(request("GET /api/v1/queue/stream HTTP/1.1", second, header))
        data = b""
        while b"STATUS_UPDATE" not in data or not data.endswith(b"\n\n\r\n"):
            data += client.socket.recv(65536)
    body = stream_body(data.partition(b"\r\n\r\n")[2])
    assert line_of(gateway, trace) == (200, len(body), "aborted")


def test_a_refused_stream_says_why(gateway: Gateway) -> None:
    header, trace = traced(42)
    assert gateway.ask("/api/v1/queue/stream", header).status == 401
    assert line_of(gateway, trace)[0] == 401


@pytest.mark.parametrize("how", ["ended", "reset"])
def test_a_websocket_has_the_size_of_what_came_from_the_service(gateway: Gateway, how: str) -> None:
    header, trace = traced(50 + (how == "reset"))
    gateway.upstream.answers["/open/ws"] = (SWITCHED + b"\x81\x05hello", True)
    with gateway.client() as client:
        client.send(b"GET /open/ws HTTP/1.1\r\nHost: h\r\n" + HANDSHAKE + header + b"\r\n")
        data = b""
        while not data.endswith(b"hello"):
            data += client.socket.recv(65536)
        if how == "reset":
            ended(client)
    assert line_of(gateway, trace) == (101, 7, "aborted" if how == "reset" else "")


def test_the_text_form_has_the_mark_too(one_gateway: Gateway) -> None:
    header, trace = traced(60)
    one_gateway.upstream.answers["/open/broken"] = (BROKEN["with its length"], False)
    with one_gateway.client() as client:
        client.send(request("GET /open/broken HTTP/1.1", header))
        assert client.answer() is None
    limit = time.monotonic() + SECONDS
    while trace not in (text := one_gateway.log.read_text()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    [line] = [line for line in text.splitlines() if trace in line]
    assert re.search(r" 200 [0-9.]+ms 40B route=open trace=\w+ end=broken$", line), line
