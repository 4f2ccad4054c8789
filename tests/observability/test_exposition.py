"""The form and version in which metrics are asked for."""

from __future__ import annotations

import pytest
from prometheus_client.exposition import choose_encoder

from gateway.observability.exposition import negotiate_format

TEXT_4 = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"
OPEN_1 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
OPEN_0 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
# What Prometheus 2 and 3 send.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT_4),
        ("*/*", TEXT_4),
        ("text/html, */*;q=0.1", TEXT_4),
        ("text/plain", TEXT_4),
        ("text/plain;version=0.0.4", TEXT_4),
        ("Text/Plain; Version=0.0.4; charset=utf-8", TEXT_4),
        ("text/plain;version=1.0.0", TEXT_1),
        ('text/plain;version="1.0.0"', TEXT_1),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT_1 + "; escaping=allow-utf-8"),
        ("text/plain;version=1.0.0;escaping=dots", TEXT_1 + "; escaping=underscores"),
        ("text/plain;version=0.0.4;escaping=allow-utf-8", TEXT_4),
        ("text/plain;version=9", TEXT_4),
        ("application/openmetrics-text", OPEN_1),
        ("application/openmetrics-text;version=1.0.0", OPEN_1),
        ("application/openmetrics-text; version=0.0.1", OPEN_0),
        ("application/openmetrics-text;version=2.0.0", TEXT_4),
        (
            "application/openmetrics-text;version=2.0.0, application/openmetrics-text;version=1.0.0;q=0.1",
            OPEN_1,
        ),
        ("application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4", TEXT_4),
        ("text/plain;version=0.0.4;q=0.3,application/openmetrics-text;version=1.0.0;q=0.5", OPEN_1),
        ("application/openmetrics-text;q=0", TEXT_4),
        ("application/openmetrics-text;q=x", TEXT_4),
        ("application/openmetrics-text;q=nan", TEXT_4),
        (PROMETHEUS_2, OPEN_1),
        (PROMETHEUS_3, OPEN_1 + "; escaping=allow-utf-8"),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            TEXT_4,
        ),
        (";;=,,;q", TEXT_4),
        ("application/openmetrics-text" + ";a=b" * 7 + ";version=0.0.1", OPEN_0),
        ("application/openmetrics-text" + ";a=b" * 8 + ";version=0.0.1", OPEN_1),
        ("text/plain;version=0.0.4\\r\\nX-Evil: 1", TEXT_4),
    ],
)
def test_the_version_asked_for_is_given(accept: str, content_type: str) -> None:
    form = negotiate_format(accept)
    assert form.content_type == content_type
    assert content_type.startswith(form.media_type + ";")


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=0.0.4",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
        PROMETHEUS_3,
        "*/*",
    ],
)
def test_the_client_library_would_say_the_same(accept: str) -> None:
    assert negotiate_format(accept).content_type == choose_encoder(accept)[1]
