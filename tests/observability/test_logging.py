"""Logs: both formats, what never gets in, and what can't be forged."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observability.logging import (
    AccessLog,
    LineWriter,
    LogFormat,
    escaped,
    logging_to,
    timestamp,
    without_tokens,
)
from tests.observability.rig import StuckSink

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
ENTRY: dict[str, Any] = {
    "method": "GET",
    "path": "/api/v1/products/1",
    "label": "product-service",
    "status": 200,
    "seconds": 0.01234,
    "size": 512,
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "client": "192.0.2.7",
}


def access_lines(*entries: dict[str, Any], **options: Any) -> list[str]:
    sink = io.StringIO()
    writer = LineWriter(sink)
    log = AccessLog(writer, **options)
    for entry in entries:
        log.write(**ENTRY | entry)
    writer.close()
    return sink.getvalue().split("\n")[:-1]


def logged(action: Callable[[], None], log_format: LogFormat = "text", level: str = "INFO") -> str:
    sink = io.StringIO()
    with logging_to(sink, log_format=log_format, level=level):
        action()
    return sink.getvalue()


def test_a_request_is_one_line_of_text() -> None:
    (line,) = access_lines({})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO access: 192\.0\.2\.7 GET /api/v1/products/1 200 12\.34ms "
        r"512B route=product-service trace=4bf92f3577b34da6a3ce929d0e0e4736",
        line,
    )


def test_a_request_is_one_object_of_json() -> None:
    (line,) = access_lines(
        {"status": 429, "outcome": "QUEUE_WAITING"}, log_format="json", service="gateway-1"
    )
    facts = json.loads(line)
    assert re.fullmatch(r"\d{4}-.*Z", facts["timestamp"])
    assert facts.pop("@timestamp") == facts.pop("timestamp")
    assert facts == {
        "level": "INFO",
        "logger": "access",
        "client": "192.0.2.7",
        "method": "GET",
        "path": "/api/v1/products/1",
        "route": "product-service",
        "status": 429,
        "durationMs": 12.34,
        "bytes": 512,
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "code": "QUEUE_WAITING",
        "message": "GET /api/v1/products/1 429",
        "service": "gateway-1",
        "@version": "1",
        "logger_name": "access",
        "thread_name": "MainThread",
        "level_value": 20000,
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_query_is_cut_off_even_if_it_was_given(log_format: str) -> None:
    (line,) = access_lines({"path": f"/api/v1/queue/stream?access_token={JWT}"}, log_format=log_format)
    assert "access_token" not in line
    assert "eyJ" not in line


def test_users_are_named_only_where_asked_for() -> None:
    assert "alice" not in access_lines({"user": "alice"})[0]
    assert access_lines({"user": "alice"}, user="plain")[0].endswith(" user=alice")
    (hashed,) = access_lines({"user": "alice"}, user="hash")
    assert re.search(r" user=[0-9a-f]{16}$", hashed)


def test_a_hashed_user_is_the_same_under_one_key_only() -> None:
    def name(user: str, key: bytes) -> str:
        return access_lines({"user": user}, user="hash", key=key)[0].rpartition("user=")[2]

    assert name("alice", b"k" * 100) == name("alice", b"k" * 100)
    assert len({name("alice", b"one"), name("alice", b"two"), name("bob", b"one"), name("alice", b"")}) == 4


def test_nothing_is_written_without_a_writer() -> None:
    log = AccessLog(None)
    assert not log.enabled
    log.write(**ENTRY)


@pytest.mark.parametrize("log_format", ["text", "json"])
@given(value=st.text(), field=st.sampled_from(["method", "path", "label", "client", "user", "outcome"]))
def test_no_field_can_make_a_second_line_or_a_second_field(log_format: str, value: str, field: str) -> None:
    if field in {"label", "outcome"}:
        value = "fixed"
    lines = access_lines({"user": "u"} | {field: value}, log_format=log_format, user="plain")
    assert len(lines) == 1
    assert lines[0].isprintable()
    if log_format == "text":
        plain = access_lines({"user": "u"} | {field: "fixed"}, user="plain")
        assert len(lines[0].split(" ")) == len(plain[0].split(" "))


def test_a_long_path_is_shortened() -> None:
    assert len(access_lines({"path": "/" * 100_000})[0]) < 3000


def test_messages_of_the_library_come_out_in_both_formats() -> None:
    text = logged(lambda: logging.getLogger("gateway.x").warning("Redis is %s", "away"))
    assert re.fullmatch(r"\d{4}-\S+Z WARNING gateway\.x: Redis is away\n", text)
    facts = json.loads(logged(lambda: logging.getLogger("gateway.x").warning("가 %s", 1), "json"))
    assert (facts["level"], facts["logger"], facts["message"]) == ("WARNING", "gateway.x", "가 1")


def test_json_has_the_names_of_the_logstash_encoder_besides() -> None:
    def fail() -> None:
        try:
            raise RuntimeError("no good")
        except RuntimeError:
            logging.getLogger("gateway.x").exception("failed")

    sink = io.StringIO()
    with logging_to(sink, log_format="json", service="gateway-1"):
        fail()
    facts = json.loads(sink.getvalue())
    assert (facts["service"], facts["logger_name"], facts["@version"]) == ("gateway-1", "gateway.x", "1")
    assert (facts["@timestamp"], facts["stack_trace"]) == (facts["timestamp"], facts["exception"])
    assert (facts["level"], facts["level_value"], facts["thread_name"]) == ("ERROR", 40_000, "MainThread")
    assert "service" not in json.loads(logged(fail, "json"))


def test_what_is_below_the_level_is_left_out() -> None:
    assert logged(lambda: logging.getLogger("gateway.x").info("hello"), level="WARNING") == ""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_exception_is_told_with_its_trace(log_format: LogFormat) -> None:
    def fail() -> None:
        try:
            raise RuntimeError(f"no good: Bearer {JWT}")
        except RuntimeError:
            logging.getLogger("gateway.x").exception("failed")

    text = logged(fail, log_format)
    assert "Traceback" in text
    assert "RuntimeError: no good: Bearer (hidden)" in text
    assert "eyJ" not in text


def test_no_message_can_pass_for_another_line() -> None:
    forged = "hello\n2026-01-01T00:00:00.000Z INFO access: forged\r\x1b[2J\u2028\u202e"
    text = logged(lambda: logging.getLogger("gateway.x").info("%s", forged))
    lines = text.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("    2026")
    assert lines[1].endswith(r"forged\r\x1b[2J\u2028\u202e")
    assert len(logged(lambda: logging.getLogger("gateway.x").info(forged), "json").splitlines()) == 1


def test_a_message_that_cant_be_formatted_does_not_break_its_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = logged(lambda: logging.getLogger("gateway.x").info("%d", "no number"))
    assert text == ""
    assert "Logging error" in capsys.readouterr().err


def test_warnings_are_logged_and_everything_is_as_before_afterwards() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        text = logged(lambda: warnings.warn("old", UserWarning, stacklevel=1))
    assert "WARNING py.warnings" in text
    assert (root.handlers[:], root.level) == before


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"token {JWT} refused", "token (hidden) refused"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer (hidden)"),
        ("authorization: bearer abc", "authorization: bearer (hidden)"),
        ("GET /x?access_token=abc&room=vip", "GET /x?access_token=(hidden)&room=vip"),
        ("the bearer", "the bearer"),
        ("Eyjafjallajökull", "Eyjafjallajökull"),
    ],
)
def test_whatever_looks_like_a_token_is_hidden(text: str, clean: str) -> None:
    assert without_tokens(text) == clean


@given(st.text())
def test_escaped_text_is_printable_and_printable_text_stays(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(text) == text or not text.isprintable()


def test_timestamps_are_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1767225599.9999) == "2025-12-31T23:59:59.999Z"
    assert timestamp(1767225600.25) == "2026-01-01T00:00:00.250Z"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_the_log_says_of_itself_is_a_line_like_others(log_format: LogFormat) -> None:
    sink = StuckSink()
    with logging_to(sink, log_format=log_format) as writer:
        writer._most_waiting = 0
        logging.getLogger("gateway").warning("unheard")
        writer._most_waiting = 1
        sink.released.set()
        logging.getLogger("gateway").warning("heard")
    first, second = sink.getvalue().splitlines()
    assert "heard" in first
    if log_format == "json":
        told = json.loads(second)
        assert told.keys() == json.loads(first).keys()
        assert (told["level"], told["logger"]) == ("WARNING", "gateway.observability.logging")
        assert told["message"] == "1 lines were dropped, the reader is too slow"
    else:
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT[\d:.]{12}Z WARNING gateway\.observability\.logging: "
            "1 lines were dropped, the reader is too slow",
            second,
        )
