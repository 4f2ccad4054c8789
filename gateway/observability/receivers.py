"""A receiver of spans by OTLP, and whether the library that sends them there is installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OTLP_PACKAGE: Final = "opentelemetry-exporter-otlp-proto-http"


@dataclass(frozen=True, slots=True)
class OtlpReceiver:
    """Where spans go by OTLP. ``endpoint``: the whole address. ``headers`` are sent with each post. ``seconds``: for
    one batch, with all repetitions. ``certificate``: of the authorities that are believed (None: the system's)."""

    endpoint: str = field(repr=False)  # may hold a password
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    seconds: float = 10.0
    gzip: bool = False
    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


def is_otlp_installed() -> bool:
    """Whether the package of OpenTelemetry's exporter is there, without importing it."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
