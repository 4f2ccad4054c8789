"""The properties of a Config Server that are laid over a route file: sections, token settings and other settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.routing.spec.document import Node
from gateway.routing.spec.issues import Place


@dataclass(frozen=True, slots=True)
class Properties:
    """The parts of a Config Server's response that the gateway uses.

    ``sections`` are by plain key, as the loader reads them from a file. ``tokens`` holds ``jwkseturi`` and so on,
    ``given`` other settings by the property's canonical name. Lines are negative: ``-n`` is the n-th of ``places``.
    ``values`` are the properties that the gateway uses, by full name. ``ignored`` are the names of the others, and
    ``unread`` says for some of these what it means that they have no effect. ``digest`` identifies the content.
    """

    sections: Mapping[str, Node]
    tokens: Mapping[str, Node]
    given: Mapping[str, Node]
    places: tuple[Place, ...]
    values: Mapping[str, str]
    ignored: tuple[str, ...]
    unread: Mapping[str, str]
    digest: bytes
    version: str | None = None
    label: str | None = None

    @property
    def gives_routes(self) -> bool:
        """Whether there is a list of routes. An empty list does not count."""
        return "routes" in self.sections
