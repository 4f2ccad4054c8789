"""OpenTelemetry's variables: as its specification has them, and each that means nothing here is told."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.util.re import parse_env_headers

from gateway.settings.model import Settings, check
from gateway.settings.tracing import OTLP_HEADERS
from gateway.settings.warnings import warnings_of_names

OTLP = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize(
    ("environ", "field", "value"),
    [
        ({"ENDPOINT": "http://a:4318"}, "endpoint", "http://a:4318"),
        ({"ENDPOINT": " "}, "endpoint", None),
        ({"TRACES_ENDPOINT": "https://a/x"}, "traces_endpoint", "https://a/x"),
        ({"HEADERS": "a=b"}, "traces_headers", (("a", "b"),)),
        ({"HEADERS": "a=b", "TRACES_HEADERS": "c=d"}, "traces_headers", (("c", "d"),)),
        (
            {"HEADERS": "X-Key = a%20b%2Cc , api=x=y=="},
            "traces_headers",
            (("x-key", "a b,c"), ("api", "x=y==")),
        ),
        ({"HEADERS": "Authorization=Basic a%20b"}, "traces_headers", (("authorization", "Basic a%20b"),)),
        ({"TIMEOUT": "2500"}, "traces_timeout", 2500),
        ({"TIMEOUT": "2500", "TRACES_TIMEOUT": "1"}, "traces_timeout", 1),
        ({"COMPRESSION": "GZIP"}, "traces_compression", "gzip"),
        ({"PROTOCOL": "http/protobuf"}, "traces_protocol", "http/protobuf"),
        ({"CERTIFICATE": "/a"}, "traces_certificate", Path("/a")),
        ({"CLIENT_CERTIFICATE": "/a"}, "traces_client_certificate", Path("/a")),
        ({"CLIENT_KEY": "/a", "TRACES_CLIENT_KEY": "/b"}, "traces_client_key", Path("/b")),
    ],
)
def test_variables_are_read_as_specified(environ: dict[str, str], field: str, value: Any) -> None:
    settings = Settings.from_env({OTLP + name: text for name, text in environ.items()})
    assert getattr(settings, f"otel_exporter_otlp_{field}") == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROTOCOL", "grpc"),
        ("TRACES_PROTOCOL", "http/json"),
        ("COMPRESSION", "zstd"),
        ("ENDPOINT", "a:4318"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "10s"),
    ],
)
def test_what_is_not_there_is_refused_under_the_name_that_was_set(name: str, text: str) -> None:
    [error] = check({OTLP + name: text})
    assert error.variable == OTLP + name
    assert repr(text) in str(error)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "hunter2",
            "=hunter2",
            "a=hunter2\n",
            "a=hunter2;b",
            'a="hunter2"',
            "a=hunter2%0Ab",
            "a=hunter2%FF",
        ),
        *("a b=hunter2", "a=hunter2%0D%0Ab", "a=hunter2é", "a=hunter2\\", "a=", "a%=hunter2"),
        ",".join(["a=hunter2"] * 65),
    ],
)
def test_a_header_that_can_t_be_sent_is_refused_and_never_shown(text: str) -> None:
    for name in ("HEADERS", "TRACES_HEADERS"):
        [error] = check({OTLP + name: text})
        assert error.variable == OTLP + name
        assert "hunter2" not in str(error)


def test_headers_are_never_shown() -> None:
    for name in ("HEADERS", "TRACES_HEADERS"):
        assert "hunter2" not in repr(Settings.from_env({OTLP + name: "authorization=hunter2"}))


@given(st.text(alphabet=st.characters(max_codepoint=0x17F)) | st.from_regex(r"[a-c]+=[!-~ ]{1,9}"))
@example("a=%")
@example("a=%zz,b=c d%20")
@example('a="')
def test_opentelemetry_s_own_reader_takes_what_is_allowed_and_reads_the_same(text: str) -> None:
    """The exporter reads the variables, too, and logs what it does not take with its value."""
    try:
        allowed = OTLP_HEADERS.parse(text)
    except ValueError:
        return
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    logger = logging.getLogger("opentelemetry.util.re")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        assert dict(parse_env_headers(text, liberal=True)) == dict(allowed)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert told == []


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a.b=c", (("a.b", "c"),)),
        (" k8s.pod.name = pod%201 ,x=", (("k8s.pod.name", "pod 1"), ("x", ""))),
        ("name=서울", (("name", "서울"),)),
    ],
)
def test_attributes_are_pairs_in_percent_encoding(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": text}).otel_resource_attributes == pairs


@pytest.mark.parametrize("text", ["a", "=b", "a b=c", "a=%0A", "a=%FF", "a=\x00"])
def test_other_attributes_are_refused(text: str) -> None:
    [error] = check({"OTEL_RESOURCE_ATTRIBUTES": text})
    assert error.variable == "OTEL_RESOURCE_ATTRIBUTES"


@pytest.mark.parametrize("name", ["MANAGEMENT_TRACING_ENABLED", "MANAGEMENT_TRACING_EXPORT_ENABLED"])
def test_springs_switches_for_all_tracing_turn_otlp_off(name: str) -> None:
    for endpoint in ("endpoint", "traces_endpoint"):
        environ = {f"{OTLP}{endpoint.upper()}": "http://a", name: "false"}
        assert getattr(Settings.from_env(environ), f"otel_exporter_otlp_{endpoint}") is None
        kept = Settings.from_env(environ | {name: "true"})
        assert getattr(kept, f"otel_exporter_otlp_{endpoint}") == "http://a"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("OTEL_TRACES_SAMPLER", "TRACING_SAMPLING_PROBABILITY says"),
        ("OTEL_TRACES_SAMPLER_ARG", "TRACING_SAMPLING_PROBABILITY says"),
        ("OTEL_TRACES_EXPORTER", "spans go where"),
        ("OTEL_METRICS_EXPORTER", "metrics are fetched"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "metrics are fetched"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "the log goes to"),
        ("OTEL_PROPAGATORS", "services get W3C"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "docs/reference/tracing.md"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "ZIPKIN_ENDPOINT says"),
        ("OTEL_EXPORTER_OTLP_HEADER", "the nearest is OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_GO_X", "docs/reference/tracing.md names"),
    ],
)
def test_a_variable_without_effect_is_told(name: str, told: str) -> None:
    [warning] = warnings_of_names({name: "x"})
    assert warning.startswith(f"{name} of OpenTelemetry has no effect here: ")
    assert told in warning


def test_the_docs_name_every_variable_that_is_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "tracing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(OTEL_[A-Z_]+)`", text))
    assert {name for name in named if warnings_of_names({name: "x"})} == set()
