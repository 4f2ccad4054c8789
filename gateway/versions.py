"""Checks whether the installed libraries have versions that this package was tested with.

The ranges are those of the package's own metadata, which come from ``setup.cfg``. Only the standard library is used: so
the check works if the import of a library fails, and costs a start only a few milliseconds.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Final

PACKAGE: Final = "waiting-room-gateway"

INNER: Final = frozenset({"aiohttp", "redis"})
"""Libraries whose internals are used. The gateway does not start with another version of them, because it may fail in
any way."""

# The part of PEP 508 that setup.cfg uses: name[extras]>=1.2,<2; marker
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?P<extras>\[[^]]*\])?\s*\(?(?P<bounds>[^;)]*)\)?\s*(?:;(?P<marker>.*))?"
)
_EXTRA = re.compile(r"\bextra\s*==\s*[\"'](?P<name>[\w.-]+)[\"']")
_BOUND = re.compile(r"\s*(?P<operator>>=|<|!=)\s*(?P<version>[0-9.]+)\s*")
_VERSION = re.compile(
    r"v?(?P<release>[0-9]+(?:\.[0-9]+)*)(?P<before>[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview|dev)[-_.]?[0-9]*)?"
    r"(?P<after>[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?"
)


@dataclass(frozen=True)
class Misfit:
    """A library that is installed in a version that the package does not allow, or is missing (None)."""

    requirement: str
    """Name, extras and range, as pip accepts them."""
    name: str
    installed: str | None
    fatal: bool
    """Whether the gateway does not work with it."""

    def __str__(self) -> str:
        # The interpreter is named because there may be several, and the pip on the PATH may belong to another one.
        command = shlex.join([sys.executable or "python3", "-m", "pip", "install", self.requirement])
        found = (
            f"{self.name} {self.installed} is installed"
            if self.installed
            else f"{self.name} is not installed"
        )
        return f"{found}, but allowed is {self.requirement}; to mend it: {command}"


def misfits(extra: str = "") -> list[Misfit]:
    """Every library that does not fit, including those of ``extra``, in the order of ``setup.cfg``.

    Empty if the package has no metadata, as in a source tree that was never installed.
    """
    try:
        wanted = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    return [misfit for line in wanted if (misfit := misfit_of(line, extra))]


def misfit_of(requirement: str, extra: str = "") -> Misfit | None:
    """The misfit for one line of the metadata; None if the library fits. Raises ValueError for a form that
    ``setup.cfg`` has never used.

    Lines of other extras than ``extra`` are skipped. A missing library of an extra fits: the command that needs it
    reports it itself.
    """
    parts = _REQUIREMENT.fullmatch(requirement.strip())
    if not parts:
        raise ValueError(f"not understood: {requirement}")
    name, marker = parts["name"], parts["marker"] or ""
    if (of := _EXTRA.search(marker)) and of["name"] != extra:
        return None
    bounds = [bound for bound in parts["bounds"].split(",") if bound.strip()]
    # The metadata does not keep the order of setup.cfg, in which the lower bound comes first.
    shown = ",".join(
        sorted((bound.strip() for bound in bounds), key=lambda bound: (bound[:2] != ">=", bound))
    )
    wanted = f"{name}{parts['extras'] or ''}{shown}"
    try:
        # The remains of a broken uninstallation have no version.
        installed = metadata.version(name) or "unknown"
    except metadata.PackageNotFoundError:
        # The gateway works without a library that is only for some systems.
        return None if marker else Misfit(wanted, name, None, fatal=True)
    if fits(installed, bounds):
        return None
    return Misfit(wanted, name, installed, fatal=name.lower() in INNER)


def fits(installed: str, bounds: list[str]) -> bool:
    """Whether a version is within all bounds, such as ``>=1.2``, ``<2`` or ``!=1.3``.

    A pre-release comes before its release, but is not below a bound with that release: 2.0rc1 is neither ``>=2.0`` nor
    ``<2.0``. A distribution's suffix (``+local``) is ignored.
    """
    version = _VERSION.match(installed.strip().lower())
    if not version:
        return False
    release, before = _release(version["release"]), version["before"] is not None
    for bound in bounds:
        parts = _BOUND.fullmatch(bound)
        if not parts:
            raise ValueError(f"not understood: {bound}")
        limit = _release(parts["version"])
        match parts["operator"]:
            case ">=":
                holds = release > limit or (release == limit and not before)
            case "<":
                holds = release < limit
            case _:
                holds = release != limit or before or version["after"] is not None
        if not holds:
            return False
    return True


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: 1.0 equals 1."""
    numbers = [int(number) for number in text.split(".") if number]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
