"""Reads what a service, or a route's metadata, says about TLS to instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.routing.spec.issues import RuleViolation
from gateway.routing.spec.value_types import FILE_NAME, SERVER_NAME, TEXT, ValueType
from gateway.service_tls import ServiceTls, ServiceTlsError, read_service_tls

_RULE: Final = "tls"
_AUTHORITY, _CERTIFICATE, _PRIVATE_KEY = "tls-ca", "tls-certificate", "tls-private-key"
_SERVER_NAME: Final = "tls-server-name"
_PARAMETERS: Final = {"authority": _AUTHORITY, "certificate": _CERTIFICATE, "private_key": _PRIVATE_KEY}

TLS_KEYS: Final[Mapping[str, tuple[ValueType[str], str]]] = {
    _AUTHORITY: (
        TEXT,
        "Certificates, in PEM, by which https:// instances are checked; missing: the system's.",
    ),
    _CERTIFICATE: (
        TEXT,
        "The gateway's certificate for https:// instances that ask for one, in PEM; may hold its key.",
    ),
    _PRIVATE_KEY: (TEXT, "The private key of that certificate, in PEM and not encrypted."),
    _SERVER_NAME: (
        SERVER_NAME,
        "The name that the certificate of https:// instances must have; missing: the host.",
    ),
}
"""The keys of a service, and of metadata, that concern TLS, each with its type in the model and its meaning."""


class TlsViolation(RuleViolation):
    """A value that can't be used. ``key`` is the one that is at fault."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(_RULE, message)


@dataclass(frozen=True, slots=True)
class TlsKeys:
    """The keys that a service has of its own, with their ``values``, and what they mean."""

    values: Mapping[str, object]
    tls: ServiceTls


def with_keys_of_service(metadata: Mapping[str, object], of_service: TlsKeys) -> Mapping[str, object]:
    """The keys that count for a route with this metadata: its own, else those of its service. A certificate brings its
    own private key."""
    own = {key: metadata[key] for key in TLS_KEYS if metadata.get(key) is not None}
    rest = {key: value for key, value in of_service.values.items() if value is not None}
    if _CERTIFICATE in own:
        rest.pop(_PRIVATE_KEY, None)
    return {**rest, **own}


def read_tls(values: Mapping[str, object], file: str) -> ServiceTls | None:
    """How instances are called over TLS; None if no key says that. ``values``: the metadata of a route, or the keys of
    a service; the files that it names are read, from the folder of ``file`` on. Raises TlsViolation."""
    texts = {key: _text(key, values[key]) for key in TLS_KEYS if values.get(key) is not None}
    if not texts:
        return None
    if _PRIVATE_KEY in texts and _CERTIFICATE not in texts:
        raise TlsViolation(_PRIVATE_KEY, f"{_PRIVATE_KEY} needs {_CERTIFICATE}, whose private key it holds")
    folder = Path(file).parent
    authority, certificate, private_key = (
        folder / texts[key] if key in texts else None for key in (_AUTHORITY, _CERTIFICATE, _PRIVATE_KEY)
    )
    try:
        return read_service_tls(authority, certificate, private_key, texts.get(_SERVER_NAME))
    except ServiceTlsError as error:
        key = _PARAMETERS[error.which]
        raise TlsViolation(key, f"{key} {texts[key]!r}: {error}") from error


def _text(key: str, value: object) -> str:
    of = SERVER_NAME if key == _SERVER_NAME else FILE_NAME
    read = of.read(value) if isinstance(value, str) else None
    if read is None:
        raise TlsViolation(key, f"{key} must be {of.wanted}, not {value!r}")
    return read
