"""A certificate authority for tests, which issues certificates to servers and clients."""

from __future__ import annotations

import datetime
import functools
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key in PEM."""

    certificate: bytes
    private_key: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes ``name.crt`` and ``name.key``, each in one step, as tools for certificates do."""
        return (
            _written(folder / f"{name}.crt", self.certificate),
            _written(folder / f"{name}.key", self.private_key),
        )


@dataclass(frozen=True)
class Authority:
    """An authority of this name, made when it is first asked for something."""

    name: str
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    @functools.cached_property
    def certificate(self) -> x509.Certificate:
        """Its own certificate."""
        limits = x509.BasicConstraints(ca=True, path_length=None)
        return _signed(self.name, self._key, self.name, self._key, [(limits, True)])

    def issue(self, *names: str, days: int = 30) -> Issued:
        """A certificate that is good for these host names and addresses; the first is also its subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        names_of = x509.SubjectAlternativeName([_general(name) for name in names])
        made = _signed(self.name, self._key, names[0], key, [(names_of, False)], days)
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Issued(made.public_bytes(_PEM), private)

    def write(self, folder: Path, name: str = "authority") -> Path:
        """Writes ``name.crt``, by which others know the authority."""
        return _written(folder / f"{name}.crt", self.certificate.public_bytes(_PEM))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.replace(" ", "-"))


def _signed(
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    extensions: list[tuple[x509.ExtensionType, bool]],
    days: int = 30,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=abs(days) + 1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _written(path: Path, content: bytes) -> Path:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    return new.replace(path)


def demanding_server(authority: Authority, names: tuple[str, ...], folder: Path) -> ssl.SSLContext:
    """A server with a certificate of this authority that asks each client for one, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(*names).write(folder, "server"))
    context.load_verify_locations(authority.write(folder, "of-clients"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context
