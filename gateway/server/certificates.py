"""The certificate of the gateway's own port, which is looked at each second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.background import background_task

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0

_Stamp = tuple[tuple[int, int, int] | None, ...]


class CertificateUnusable(Exception):
    """Certificate and private key can't be used, with the reason in one clause."""


class Certificates:
    """TLS for clients, with the certificate (and its chain) and the private key of two files in PEM. Raises
    CertificateUnusable.

    New connections get the newest pair that can be used, others keep theirs. While the files hold no such pair the one
    before stays in force, and the log says why.
    """

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = certificate, private_key
        self._seen = self._stamp()
        self._ends: datetime | None = None
        """When the certificate in force expires; None if that has been logged, or can't be read."""
        self.context = self._load()
        """For the next connection."""
        self._tell_of_end()

    @contextlib.asynccontextmanager
    async def watched(self, seconds: float = LOOK_SECONDS) -> AsyncIterator[None]:
        """Takes over new pairs inside this context."""
        async with background_task(self._watch(seconds), "certificates"):
            yield

    async def _watch(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            # In a thread: a file system that hangs must not hold up requests.
            context = await asyncio.to_thread(self.look)
            if context is not None:
                self.context = context

    def look(self) -> ssl.SSLContext | None:
        """What the files hold, if they have changed and can be used."""
        self._tell_of_end()
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            context = self._load()
        except CertificateUnusable as error:
            log.warning("%s; the certificate before stays in force", error)
            return None
        log.info("a new certificate is in force for new connections (%s)", self._files[0])
        self._tell_of_end()
        return context

    def _tell_of_end(self) -> None:
        """Says once that the certificate in force has expired."""
        if self._ends is not None and self._ends <= datetime.now(UTC):
            log.warning(
                "the certificate in %s has expired (%s): clients refuse it; renew it",
                self._files[0],
                self._ends.isoformat(),
            )
            self._ends = None

    def _stamp(self) -> _Stamp:
        return tuple(map(_stamp_of, self._files))

    def _load(self) -> ssl.SSLContext:
        certificate, private_key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        content = [_content(file) for file in self._files]
        try:
            # Without the empty password, OpenSSL asks the terminal for that of an encrypted key.
            context.load_cert_chain(certificate, private_key, password="")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or "it is encrypted, or no PEM"
            said = str(reason).replace("_", " ").lower()
            raise CertificateUnusable(
                f"{certificate} and {private_key} are no certificate with its private key ({said})"
            ) from error
        self._ends = _end_of(content[0])
        return context


def _content(file: Path) -> bytes:
    try:
        # A named pipe would be waited for without end.
        if file.exists() and not file.is_file():
            raise CertificateUnusable(f"{file} can't be read: it is no regular file")
        return file.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"{file} can't be read: {error.strerror}") from error


def _end_of(pem: bytes) -> datetime | None:
    """When the first certificate expires. OpenSSL has accepted it already."""
    # Imported here, because only a gateway with a certificate needs it.
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    try:
        return load_pem_x509_certificates(pem)[0].not_valid_after_utc
    except ValueError:
        # OpenSSL is more lenient, as with text around a certificate.
        return None


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
