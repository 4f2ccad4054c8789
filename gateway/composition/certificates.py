"""The certificate of ``SERVER_PORT``, if the settings name one."""

from __future__ import annotations

from gateway.errors import SettingsError
from gateway.server.certificates import Certificates, CertificateUnusable
from gateway.settings.model import Settings


def certificates_of(settings: Settings) -> Certificates | None:
    """The certificate and its private key; None without. Reads both files. Raises SettingsError if they are no pair."""
    certificate, private_key = settings.server_ssl_certificate, settings.server_ssl_certificate_private_key
    if certificate is None or private_key is None:
        return None
    try:
        return Certificates(certificate, private_key)
    except CertificateUnusable as error:
        raise SettingsError(
            "SERVER_SSL_CERTIFICATE",
            str(certificate),
            f"a certificate in PEM whose private key is in SERVER_SSL_CERTIFICATE_PRIVATE_KEY: {error}",
        ) from error
