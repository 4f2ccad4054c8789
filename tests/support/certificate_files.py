"""Certificates for the gateway's own port, as files, and clients that trust them."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key in PEM."""

    certificate: bytes
    private_key: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes both, each in one step, as tools for certificates do."""
        paths = folder / "tls.crt", folder / "tls.key"
        for path, content in zip(paths, (self.certificate, self.private_key), strict=True):
            new = path.with_suffix(".new")
            new.write_bytes(content)
            new.replace(path)
        return paths


def pair_for(name: str, days: float = 30.0) -> Pair:
    """A self-signed certificate of this name, which is good for loopback addresses. ``days``: until it expires."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Pair(
        made.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def trusting(*pairs: Pair) -> ssl.SSLContext:
    """A client that accepts these certificates and no others."""
    return ssl.create_default_context(cadata="".join(pair.certificate.decode() for pair in pairs))
