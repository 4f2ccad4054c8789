"""What is laid over a route file: the sections, settings of tokens and other settings that a Config Server gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.routing.spec.document import Node
from gateway.routing.spec.faults import Place


@dataclass(frozen=True, slots=True)
class Properties:
    """What of a Config Server's answer concerns a gateway.

    ``sections`` by plain key, as the loader has them of a file; ``tokens`` holds ``jwkseturi`` and so on, ``given``
    other settings by the property's canonical name. Lines are negative: ``-n`` is the n-th of ``places``. ``values``
    are the properties that count, by full name; ``ignored`` are names of those that don't, and ``unread`` says of some
    of these, by name, what their absence means. ``digest`` tells one content from another.
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
        """Whether there is a list of routes; an empty one counts as none."""
        return "routes" in self.sections
