"""Nothing secret reaches the log, and what can't be read is counted and logged all the same, without its bytes."""

from __future__ import annotations

import re
import time
from itertools import count

import pytest

from tests.hostile.rig import Gateway, request

SECRET = "S3cr3tS3cr3t"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.S3cr3tS3cr3tS3cr3t.S3cr3t"

KEPT_OUT = [
    request("GET /open/a HTTP/1.1", f"Cookie: session={SECRET}; token={TOKEN}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Authorization: Bearer {TOKEN}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Authorization: Basic {SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Proxy-Authorization: Basic {SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"X-Api-Key: {SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Referer: http://h/?access_token={SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"User-Agent: {SECRET}\r\n".encode()),
    request(f"GET /open/a?access_token={TOKEN}&password={SECRET} HTTP/1.1"),
    request(f"GET /api/v1/queue/stream?access_token={TOKEN} HTTP/1.1"),
    request(f"GET /api/v1/queue/stream?access_token={SECRET} HTTP/1.1"),
    request(f"GET /api/v1/queue/status?access_token={SECRET} HTTP/1.1"),
    request(f"GET /open//a?access_token={SECRET} HTTP/1.1"),
    request(f"GET /open/%zz{SECRET} HTTP/1.1"),
    request(f"GET /open/..;{SECRET} HTTP/1.1"),
    request(f"GET http://u:{SECRET}@h/open/a HTTP/1.1"),
    request(f"GET /open/a {SECRET} HTTP/1.1"),
    request(f"{SECRET} /open/a HTTP/1.1"),
    request(f"GET /open/a HTTP/1.1{SECRET}"),
    request("GET /open/a HTTP/1.1", f"A\0: {SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"A: {SECRET}\0\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"{SECRET} : a\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Cookie: a={SECRET}\r\n {SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", host=f"Host: {SECRET}@h\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Content-Length: {SECRET}\r\n".encode()),
    request("GET /open/a HTTP/1.1", f"Transfer-Encoding: {SECRET}\r\n".encode()),
    request("POST /open/a HTTP/1.1", b"Transfer-Encoding: chunked\r\n", body=f"{SECRET}\r\n".encode()),
    request(
        "POST /open/a HTTP/1.1", b"Transfer-Encoding: chunked\r\n", body=f"0\r\n{SECRET}\r\n\r\n".encode()
    ),
    request(
        "POST /api/v1/queue/leave HTTP/1.1", b"Content-Length: 25\r\n", body=b"access_token=S3cr3tS3cr3t"
    ),
    request(
        "POST /api/v1/queue/leave HTTP/1.1",
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 25\r\n",
        body=b"access_token=S3cr3tS3cr3t",
    ),
    request(
        "POST /api/v1/queue/leave HTTP/1.1",
        b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n",
        body=b"zzaccess_token=S3cr3tS3cr3t\r\n",
    ),
    request("POST /actuator/rooms/default HTTP/1.1", f"Authorization: Bearer {SECRET}\r\n".encode()),
    f"{SECRET}\r\n\r\n".encode(),
]


_marks = count()


def lines(gateway: Gateway) -> list[str]:
    """The access log up to now."""
    mark = f"/open/mark/{next(_marks)}"
    assert gateway.ask(mark).status == 200
    limit = time.monotonic() + 5
    while f"GET {mark} " not in (text := gateway.log.read_text()) and time.monotonic() < limit:
        time.sleep(0.01)
    return re.findall(r"^.* INFO access: .*$", text, re.M)


def test_no_secret_reaches_log_or_answer_however_it_is_sent(gateway: Gateway) -> None:
    before = len(lines(gateway))
    for sent in KEPT_OUT:
        talk = gateway.talk([sent], answers=1)
        assert len(talk.answers) == 1, sent
        assert SECRET.encode() not in talk.answers[0].body or b"GET /open/a?" in talk.answers[0].body, sent
    assert len(lines(gateway)) == before + len(KEPT_OUT) + 1
    text = gateway.log.read_text()
    assert "S3cr3t" not in text
    assert "Traceback" not in text


def test_no_client_writes_a_line_of_the_log(gateway: Gateway) -> None:
    for path in (
        "/open/%0aFORGED",
        "/open/a\rFORGED",
        "/open/%e2%80%a8FORGED",
        "/open/\x1b[2JFORGED",
        "/open/a FORGED",
    ):
        gateway.talk([request(f"GET {path} HTTP/1.1")], answers=1)
    gateway.talk([request(b"GET /open/%E2%80%AEx HTTP/1.1")], answers=1)
    for line in lines(gateway):
        assert "FORGED" not in line or "%e2%80%a8FORGED" in line
        assert line.isprintable()


@pytest.mark.parametrize("sent", [b"garbage\r\n\r\n", request("GET /open/a HTTP/1.1", b"A\0: b\r\n")])
def test_what_cant_be_read_is_counted_and_logged(gateway: Gateway, sent: bytes) -> None:
    def counted() -> float:
        text = gateway.ask("/actuator/prometheus").body.decode()
        found = re.search(r'requests_seconds_count\{method="OTHER",route="-",status="4xx"\} (\S+)', text)
        return float(found[1]) if found else 0.0

    before, logged = counted(), len(lines(gateway))
    assert gateway.talk([sent], answers=1).statuses == [400]
    assert counted() == before + 1
    assert any("127.0.0.1 UNKNOWN - 400" in line for line in lines(gateway)[logged:])
