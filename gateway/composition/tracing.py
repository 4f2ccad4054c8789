"""Who gets the spans, by the settings, and what the gateway says about itself there."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway import __version__
from gateway.errors import SettingsError
from gateway.observability.receivers import OTLP_PACKAGE, OtlpReceiver, is_otlp_installed
from gateway.settings.model import Settings

_PATH = "/v1/traces"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_CERTIFICATE = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"
_CLIENT_CERTIFICATE = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE"
_CLIENT_KEY = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"


def zipkin_of(settings: Settings) -> str | None:
    """The address of Zipkin; None if it gets no spans."""
    return None if settings.otel_sdk_disabled else settings.zipkin_endpoint


def otlp_of(settings: Settings) -> OtlpReceiver | None:
    """The receiver of spans by OTLP; None without. Reads its TLS files. Raises SettingsError if they can't be used, and
    if OpenTelemetry's exporter is not installed."""
    base, whole = settings.otel_exporter_otlp_endpoint, settings.otel_exporter_otlp_traces_endpoint
    if settings.otel_sdk_disabled or (base is None and whole is None):
        return None
    if not is_otlp_installed():
        raise SettingsError(
            _ENDPOINT if whole is None else "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "(hidden)",
            f"an address only with the package {OTLP_PACKAGE}, which is not installed: "
            "pip install 'waiting-room-gateway[otlp]'",
        )
    receiver = OtlpReceiver(
        endpoint=whole or f"{(base or '').removesuffix('/')}{_PATH}",
        headers=settings.otel_exporter_otlp_traces_headers,
        seconds=settings.otel_exporter_otlp_traces_timeout / 1000,
        gzip=settings.otel_exporter_otlp_traces_compression == "gzip",
        certificate=settings.otel_exporter_otlp_traces_certificate,
        client_certificate=settings.otel_exporter_otlp_traces_client_certificate,
        client_key=settings.otel_exporter_otlp_traces_client_key,
    )
    _check_files(receiver)
    return receiver


def resource_of(settings: Settings) -> dict[str, str]:
    """The attributes of the gateway as a resource of OpenTelemetry."""
    given = dict(settings.otel_resource_attributes)
    name = settings.otel_service_name or given.get("service.name") or settings.spring_application_name
    return {"service.version": __version__, **given, "service.name": name}


def _check_files(receiver: OtlpReceiver) -> None:
    if receiver.certificate is not None:
        _try_file(_CERTIFICATE, receiver.certificate, "a file of certificates in PEM")
        try:
            ssl.create_default_context(cafile=receiver.certificate)
        except (OSError, ValueError) as error:
            raise SettingsError(
                _CERTIFICATE, str(receiver.certificate), "a file of certificates in PEM"
            ) from error
    certificate, key = receiver.client_certificate, receiver.client_key
    if certificate is None:
        if key is not None:
            raise SettingsError(_CLIENT_KEY, str(key), f"a private key only with {_CLIENT_CERTIFICATE}")
        return
    allowed = f"a certificate in PEM whose private key is in it or in {_CLIENT_KEY}, not encrypted"
    _try_file(_CLIENT_CERTIFICATE, certificate, allowed)
    if key is not None:
        _try_file(_CLIENT_KEY, key, "the private key of the client certificate, in PEM")
    try:
        # Without the empty password, OpenSSL asks the terminal for that of an encrypted key.
        ssl.create_default_context().load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise SettingsError(_CLIENT_CERTIFICATE, str(certificate), allowed) from error


def _try_file(variable: str, path: Path, allowed: str) -> None:
    try:
        # A named pipe would be waited for without end.
        if path.exists() and not path.is_file():
            raise FileNotFoundError(2, "it is no regular file")
        path.read_bytes()
    except OSError as error:
        raise SettingsError(variable, str(path), f"{allowed}; it can't be read: {error.strerror}") from error
