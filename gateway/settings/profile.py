"""The Spring environment: whether the gateway replaces a Spring Cloud Gateway, and why it assumes so.

What this switches on is in docs/reference/settings.md. The settings read it once; other parts use
``Settings.spring_environment``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.settings.spring.environ import understood

SHIPPED_ROUTES: Final = Path(__file__).parents[1] / "routes.yaml"

_MAX_NAMED: Final = 3
_FALSE: Final = frozenset({"false", "off", "no", "0"})
_SPRING: Final = "SPRING_"
_EUREKA: Final = "EUREKA_"
_CONFIG_ENABLED: Final = "SPRING_CLOUD_CONFIG_ENABLED"
# Variables that Kubernetes and Docker set for a service named eureka or spring-…: no operator chose these.
_SERVICE_LINK = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_.+)?)")
_LINKED = re.compile(r"(tcp|udp|sctp)://")
_PRINTABLE = re.compile(r"[\w.\[\]-]{1,100}", re.ASCII)


def spring_reason(environ: Mapping[str, str]) -> str:
    """Why this is a Spring environment, in words that complete "on, because …"; empty if it is none.

    Reads the route file only if no variable has decided, and only to see whether it is the shipped one. Only variables
    are named; ``SPRING_APPLICATION_JSON`` stands for all properties in it.
    """
    view = understood(environ)
    match _profile(view):
        case "plain":
            return ""
        case "spring":
            return "GATEWAY_PROFILE is spring"
    names = [name for name, folded in _set(view.plain) if folded.startswith((_SPRING, _EUREKA))]
    if names:
        shown = [name if _PRINTABLE.fullmatch(name) else "SPRING_…" for name in sorted(names)][:_MAX_NAMED]
        more = len(names) - len(shown)
        and_more = f" and {more} more" if more else ""
        return f"{', '.join(shown)}{and_more} {'is' if len(names) == 1 else 'are'} set"
    return "the routes are those that are shipped" if _uses_shipped_routes(view) else ""


def spring_lines(because: str) -> list[str]:
    """The log lines for a reason that ``spring_reason`` gave: one line, or none."""
    if not because:
        return []
    return [
        f"Spring environment: on, because {because}; what that means is in docs/reference/settings.md, and "
        "GATEWAY_PROFILE=plain switches it off"
    ]


def import_of_spring(environ: Mapping[str, str]) -> str | None:
    """The value of ``SPRING_CONFIG_IMPORT`` if it is unset: the older system has one built in, and calls a Config
    Server unless that is switched off. None without any Spring variable."""
    if _profile(environ) == "plain":
        return None
    values = {folded: environ[name].strip() for name, folded in _set(environ) if folded.startswith(_SPRING)}
    if not values or values.get(_CONFIG_ENABLED, "").lower() in _FALSE:
        return None
    return "optional:configserver:"


def routes_path(routes_file: Path | None, shipped: Path = SHIPPED_ROUTES) -> Path:
    """The route file to read: the one set, else that of the working directory, else ``shipped``."""
    here = Path("routes.yaml")
    return routes_file or (here if here.exists() else shipped)


def _profile(environ: Mapping[str, str]) -> str:
    return environ.get("GATEWAY_PROFILE", "").strip().lower()


def _set(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables that are not empty, each with its name as Spring folds it: ``spring.data.redis.host``."""
    for name, text in environ.items():
        folded = re.sub(r"[^A-Z0-9]+", "_", name.upper())
        linked = _SERVICE_LINK.fullmatch(folded) or (folded.endswith("_PORT") and _LINKED.match(text))
        if text.strip() and not linked:
            yield name, folded


def _uses_shipped_routes(environ: Mapping[str, str]) -> bool:
    """Whether the route file in use is the shipped one, or an unchanged copy of it, as in an image."""
    text = environ.get("ROUTES_FILE", "").strip()
    try:
        file = routes_path(Path(text) if text else None)
        if file.samefile(SHIPPED_ROUTES):
            return True
        same_size = file.is_file() and file.stat().st_size == SHIPPED_ROUTES.stat().st_size
        return same_size and file.read_bytes() == SHIPPED_ROUTES.read_bytes()
    except (OSError, ValueError):
        return False  # loading the routes reports it
