"""The gateway's side of TLS to a service: the authorities that it believes, and its own certificate."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path


class ServiceTlsError(Exception):
    """A file can't be used. ``which`` names the setting, the text says why in one clause."""

    def __init__(self, which: str, reason: str) -> None:
        self.which = which
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class ServiceTls:
    """How the gateway speaks TLS to a service. Two of them are equal if they were made of the same content, and only
    then they may share connections.

    ``server_name``: whose certificate the service must show, and the name that is sent to it (None: its host).
    """

    digest: bytes
    """Identifies the content of the files."""
    server_name: str | None
    context: ssl.SSLContext = field(compare=False, repr=False)
    files: tuple[Path, ...] = field(default=(), compare=False)
    """What it was made of; a change of one asks for a new one."""


def read_service_tls(
    authority: Path | None, certificate: Path | None, private_key: Path | None, server_name: str | None
) -> ServiceTls:
    """Reads the files, which are in PEM. Without ``authority`` the system's certificates are believed. The certificate
    may hold its private key, too. Raises ServiceTlsError, with the names of these parameters."""
    named = {"authority": authority, "certificate": certificate, "private_key": private_key}
    files = {which: path for which, path in named.items() if path is not None}
    digest = hashlib.sha256()
    for which, path in files.items():
        content = _content(which, path)
        digest.update(f"{which} {len(content)} ".encode() + content)
    context = _context(authority)
    if certificate is not None:
        try:
            # Without the empty password, OpenSSL asks the terminal for that of an encrypted key.
            context.load_cert_chain(certificate, private_key, password="")
        except (OSError, ValueError) as error:
            raise ServiceTlsError("certificate", _reason(error)) from error
    return ServiceTls(digest.digest(), server_name, context, tuple(files.values()))


def _context(authority: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ValueError) as error:
        raise ServiceTlsError("authority", _reason(error)) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _content(which: str, path: Path) -> bytes:
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "it is no regular file" if path.exists() else "there is no such file")
        return path.read_bytes()
    except OSError as error:
        raise ServiceTlsError(which, f"can't be read: {error.strerror}") from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or "it is encrypted, or no PEM"
    return str(reason).replace("_", " ").lower()
