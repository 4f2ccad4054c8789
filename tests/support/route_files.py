"""Route files from the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.routing.spec.loader import content_of, parse
from gateway.routing.table import RouteTable


def load(path: Path, environ: Mapping[str, str]) -> RouteTable:
    """The table of the file ``path``; raises RouteFileError with every fault."""
    return parse(content_of(path), str(path), environ)
