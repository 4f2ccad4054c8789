"""Self-signed certificates for keys of tests, as key sets show them in ``x5c``, and for services over TLS."""

from __future__ import annotations

import base64
import datetime
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID


def certificate(pem: str, *, days: int = 30) -> str:
    """A certificate for a private key, DER in base64; with negative ``days`` one that is over since so many."""
    key: Any = serialization.load_pem_private_key(pem.encode(), None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "auth.example")])
    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=abs(days) + 30))
        .not_valid_after(end)
        .sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def tls_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A service's side of TLS, and that of a client who trusts the service. Their files go to ``folder``."""
    key = ec.generate_private_key(ec.SECP256R1())
    files = folder / "key.pem", folder / "certificate.pem"
    pem, pkcs8, plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files[0].write_bytes(key.private_bytes(pem, pkcs8, plain))
    shown = certificate(files[0].read_text())
    files[1].write_text(f"-----BEGIN CERTIFICATE-----\n{shown}\n-----END CERTIFICATE-----\n")
    client = ssl.create_default_context(cafile=str(files[1]))
    client.check_hostname = False
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files[1], files[0])
    return server, client
