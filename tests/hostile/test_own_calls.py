"""The gateway's own calls with input nobody would send: refused or answered, never an error of ours."""

from __future__ import annotations

import pytest

from tests.hostile.rig import Gateway, request

LONG = "a" * 4000
TARGETS = [
    "GET /api/v1/queue/status?room=%FF",
    "GET /api/v1/queue/status?room=%EF%BF%BD",
    "GET /api/v1/queue/status?room=%00",
    "GET /api/v1/queue/status?room=" + LONG,
    "GET /api/v1/queue/status?room=default&room=default",
    "GET /api/v1/queue/status?room=",
    "GET /api/v1/queue/status?room",
    "GET /api/v1/queue/status?" + "&" * 4000,
    "GET /api/v1/queue/status?" + "a=b&" * 1500,
    "GET /api/v1/queue/status?=&==&=a",
    "GET /api/v1/queue/status?room=../../x",
    "GET /api/v1/queue/status?room=gw:*{}",
    "GET /api/v1/queue/status/",
    "GET /API/V1/QUEUE/status",
    "GET /api/v1/queue",
    "GET /api/v1/queue/%73tatus",
    "PUT /api/v1/queue/lineup",
    "PATCH /api/v1/queue/lineup",
    "OPTIONS /api/v1/queue/lineup",
    "TRACE /api/v1/queue/lineup",
    "DELETE /api/v1/queue/waiting-token?room=%20",
    "HEAD /api/v1/queue/stream",
    "HEAD /api/v1/queue/status",
    "GET /api/v1/queue/stream?access_token=a&access_token=b",
    "GET /api/v1/queue/stream?" + "access_token=a&" * 500,
    "GET /api/v1/queue/stream?access_token=%FF%FE",
    "GET /api/v1/queue/stream?room=nowhere",
    "POST /api/v1/queue/leave",
    "GET /actuator/gateway/routes/%FF",
    "GET /actuator/gateway/routes/x%EF%BF%BD",
    "GET /actuator/gateway/routes/" + LONG,
    "GET /actuator/rooms/%F0%9F%92%A9",
    "POST /actuator/rooms/default",
    "DELETE /actuator/rooms/default/users?id=%FF",
    "GET /actuator/health/x",
    "GET /ACTUATOR/health",
]
HEADERS = [
    b"",
    b"Accept-Language: " + b"a;q=" * 2000 + b"\r\n",
    b"Accept-Language: \xff,*;q=nan,ko;q=1e400\r\n",
    b"Last-Event-ID: \xff\xfe\r\n",
    b"Last-Event-ID: end\r\n",
    b"Cookie: ===;;;\xff\r\n",
    b"traceparent: 00-" + b"f" * 5000 + b"\r\n",
    b"traceparent: \xff\r\nb3: \xff-\xff-\xff\r\n",
    b"Content-Type: \xff; charset=\xff\r\nContent-Length: 0\r\n",
    b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n",
    b"Expect: 100-continue\r\nContent-Length: 3\r\n",
    b"Expect: 200-ok\r\nContent-Length: 3\r\n",
    b"Content-Encoding: gzip\r\nContent-Length: 3\r\n",
    b"Authorization: \xff\r\n",
    b"Authorization: Bearer \r\n",
    b"X-Forwarded-For: \xff\r\nForwarded: for=\xff\r\n",
    b"Range: bytes=0-\r\nIf-Match: \xff\r\n",
]


@pytest.mark.parametrize("call", TARGETS, ids=range(len(TARGETS)))
def test_no_input_makes_an_error_of_ours(one_gateway: Gateway, call: str) -> None:
    to_head = call.startswith("HEAD")
    for who in (one_gateway.bearer("fuzzer"), b""):
        for header in HEADERS:
            if who and header.startswith(b"Authorization"):
                continue
            body = b"a=b" if b"Content-Length: 3" in header else b""
            with one_gateway.client() as client:
                client.send(request(f"{call} HTTP/1.1", who, header, body=body))
                answer = client.answer(to_head=to_head)
            assert answer is not None, (call, header)
            assert answer.status < 500, (call, header, answer)
            assert answer.headers["server"] == "gateway"
    assert "Traceback" not in one_gateway.log.read_text()
    assert one_gateway.behind() == ([], [])


def test_leaving_by_a_form_bears_any_body(one_gateway: Gateway) -> None:
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    for body in (
        b"access_token=%FF", b"access_token=\xff", b"access_token=a&access_token=b", b"&" * 5000, b"a=b&" * 4000,
        b"=" * 16_000, b"x" * 17_000, b"\0" * 100, b"access_token=" + b"a" * 9000, b"%zz", b"access_token",
    ):  # fmt: skip
        for framing in (
            request(
                "POST /api/v1/queue/leave HTTP/1.1", form, b"Content-Length: %d\r\n" % len(body), body=body
            ),
            request(
                "POST /api/v1/queue/leave HTTP/1.1",
                form,
                b"Transfer-Encoding: chunked\r\n",
                body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            ),
        ):
            [answer] = one_gateway.talk([framing], answers=1).answers
            assert answer.status in {400, 401, 413}, (body[:20], answer)
