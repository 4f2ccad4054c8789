"""Settings about traces: how many are recorded, and who gets the spans. Part of ``Settings``.

The names that begin with ``OTEL_`` and what they mean are OpenTelemetry's:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from gateway.errors import SettingsError
from gateway.settings import types as kinds
from gateway.settings.combined import turned_off
from gateway.settings.discovery import DiscoverySettings
from gateway.settings.fields import setting
from gateway.settings.types import ValueType, one_of, whole

OPENTELEMETRY: Final = "OTEL_"
"""The beginning of the names of OpenTelemetry's variables."""

_NO_TRACING: Final = ("MANAGEMENT_TRACING_EXPORT_ENABLED", "MANAGEMENT_TRACING_ENABLED")
_NO_ZIPKIN: Final = (
    "MANAGEMENT_TRACING_EXPORT_ZIPKIN_ENABLED",
    "MANAGEMENT_ZIPKIN_TRACING_EXPORT_ENABLED",
)
_HEADER_NAME: Final = re.compile(r"[!#$&'*+.^_`|~0-9A-Za-z-]{1,100}")
# OpenTelemetry's libraries take a value with blanks as it is, and any other in percent-encoding.
_ENCODED_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")
_PLAIN_VALUE: Final = re.compile(r"[ !#-+\--:<-\[\]-~]*")
_VISIBLE: Final = re.compile(r"[ -~]{1,4000}")
_ATTRIBUTE_NAME: Final = re.compile(r"[0-9A-Za-z._/-]{1,255}")
_MAX_PAIRS: Final = 64
_MAX_CHARACTERS: Final = 16_384


def spans_wanted(environ: Mapping[str, str], endpoint: str | None, _: str | None) -> str | None:
    """``endpoint``; None if one of Spring's switches turns tracing or Zipkin off. Raises ``SettingsError``."""
    # All are read, so that each wrong one is reported.
    off = [turned_off(environ, name) for name in _NO_TRACING + _NO_ZIPKIN]
    return None if any(off) else endpoint


def otlp_wanted(environ: Mapping[str, str], endpoint: str | None, _: str | None) -> str | None:
    """``endpoint``; None if one of Spring's switches turns tracing off. A wrong one is reported by ``spans_wanted``."""
    try:
        off = any(turned_off(environ, name) for name in _NO_TRACING)
    except SettingsError:
        off = False
    return None if off else endpoint


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError("too long")
    items = [item.strip(" \t") for item in text.split(",")]
    items = [item for item in items if item]
    if len(items) > _MAX_PAIRS:
        raise ValueError("too many")
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError("no pair")
        yield name.strip(" \t"), value.strip(" \t")


def _parse_otlp_headers(text: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for name, value in _pairs(text):
        if not _HEADER_NAME.fullmatch(name) or not _PLAIN_VALUE.fullmatch(value):
            raise ValueError("unfit characters")
        sent = unquote(value, errors="strict").strip() if _ENCODED_VALUE.fullmatch(value) else value
        if not _VISIBLE.fullmatch(sent):
            raise ValueError("unfit characters in a value, or none")
        headers.append((name.lower(), sent))
    return tuple(headers)


def _parse_attributes(text: str) -> tuple[tuple[str, str], ...]:
    attributes = []
    for name, value in _pairs(text):
        decoded = unquote(value, errors="strict")
        if not _ATTRIBUTE_NAME.fullmatch(name) or not decoded.isprintable():
            raise ValueError("unfit characters")
        attributes.append((name, decoded))
    return tuple(attributes)


OTLP_HEADERS = ValueType(
    _parse_otlp_headers,
    "pairs such as Authorization=Bearer%20TOKEN, separated by commas, values of visible ASCII characters in "
    "percent-encoding",
)
ATTRIBUTES = ValueType(
    _parse_attributes,
    "pairs such as deployment.environment.name=production, separated by commas, values in percent-encoding",
)
COMPRESSION: ValueType[Literal["none", "gzip"]] = one_of("none", "gzip")
PROTOCOL: ValueType[Literal["http/protobuf"]] = one_of("http/protobuf")


@dataclass(frozen=True, slots=True, repr=False)
class TracingSettings(DiscoverySettings):
    """How many traces are recorded, and where spans go. A subclass, because only one base class may have slots."""

    tracing_sampling_probability: float = setting(
        kinds.fraction(),
        0.1,
        "Share of the traces begun here that is recorded; a trace that a client began is, if the client says so.",
        older=("TRACING_PROBABILITY",),
        group="Tracing",
    )
    zipkin_endpoint: str | None = setting(
        kinds.HTTP_URL,
        None,
        "Where spans are sent as Zipkin's JSON.",
        cross_check=spans_wanted,
        off=None,
        spring="http://localhost:9411/api/v2/spans",
        default_words="off; in a Spring environment `http://localhost:9411/api/v2/spans`",
    )
    otel_exporter_otlp_endpoint: str | None = setting(
        kinds.HTTP_URL,
        None,
        "Where spans are sent by OTLP, without the path `/v1/traces`, which is appended.",
        cross_check=otlp_wanted,
        off=None,
        default_words="off",
    )
    otel_exporter_otlp_traces_endpoint: str | None = setting(
        kinds.HTTP_URL,
        None,
        "The same as a whole address, to which nothing is appended; it wins.",
        cross_check=otlp_wanted,
        off=None,
        default_words="off",
    )
    otel_exporter_otlp_traces_headers: tuple[tuple[str, str], ...] = setting(
        OTLP_HEADERS,
        (),
        "Headers of each post by OTLP.",
        older=("OTEL_EXPORTER_OTLP_HEADERS",),
        secret=True,
        default_words="none",
    )
    otel_exporter_otlp_traces_timeout: int = setting(
        whole(1, 600_000),
        10_000,
        "Milliseconds for a batch of spans by OTLP, with all its repetitions.",
        older=("OTEL_EXPORTER_OTLP_TIMEOUT",),
    )
    otel_exporter_otlp_traces_compression: Literal["none", "gzip"] = setting(
        COMPRESSION,
        "none",
        "Compression of posts by OTLP.",
        older=("OTEL_EXPORTER_OTLP_COMPRESSION",),
    )
    otel_exporter_otlp_traces_protocol: Literal["http/protobuf"] = setting(
        PROTOCOL,
        "http/protobuf",
        "How OTLP is spoken.",
        older=("OTEL_EXPORTER_OTLP_PROTOCOL",),
    )
    otel_exporter_otlp_traces_certificate: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "Certificates, in PEM, of the authorities that are believed at an `https://` address for OTLP.",
        older=("OTEL_EXPORTER_OTLP_CERTIFICATE",),
        default_words="the system's",
    )
    otel_exporter_otlp_traces_client_certificate: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "Certificate, in PEM, with which the gateway shows there who it is; may hold its key, too.",
        older=("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",),
        default_words="none",
    )
    otel_exporter_otlp_traces_client_key: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "The private key of that certificate, in PEM and not encrypted.",
        older=("OTEL_EXPORTER_OTLP_CLIENT_KEY",),
        default_words="none",
    )
    otel_service_name: str | None = setting(
        kinds.LINE,
        None,
        "The gateway's name in traces.",
        default_words="`service.name` of `OTEL_RESOURCE_ATTRIBUTES`, else `SPRING_APPLICATION_NAME`",
    )
    otel_resource_attributes: tuple[tuple[str, str], ...] = setting(
        ATTRIBUTES,
        (),
        "What spans by OTLP say about the gateway besides.",
        default_words="none",
    )
    otel_sdk_disabled: bool = setting(kinds.SWITCH, False, "With `true` no spans are sent at all.")
