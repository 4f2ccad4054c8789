"""Settings of tokens that a Config Server gives (``spring.security.oauth2.resourceserver.jwt``), checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.routing.document import Fields, Items, Node, Text
from gateway.routing.faults import Faults
from gateway.routing.sections import texts
from gateway.settings import TABLE

_SETTINGS: Final = {
    "jwkseturi": "JWT_JWKS_URI",
    "issueruri": "JWT_ISSUER",
    "audiences": "JWT_AUDIENCE",
    "jwsalgorithms": "JWT_ALGORITHMS",
}


def read_tokens(nodes: Mapping[str, Node], faults: Faults) -> dict[str, tuple[str, ...]]:
    """Values by setting in lower case, each as that setting allows; what is empty is left out.

    ``audiences`` may be several, of which a token needs one.
    """
    found: dict[str, tuple[str, ...]] = {}
    for key, node in nodes.items():
        row = next(row for row in TABLE if row.name == _SETTINGS[key])
        several = key in ("audiences", "jwsalgorithms")
        if isinstance(node, Fields) or (isinstance(node, Items) and not several):
            faults.add(node.line, "shape", "this must be one text")
            continue
        values = []
        for text in texts(node, key, faults):
            parts = [part for part in text.value.split(",") if part.strip()] if several else []
            for part in parts or (text.value,):
                try:
                    row.kind.parse(part.strip())
                except ValueError:
                    faults.add(text.line, "token-setting", f"{row.name}: allowed is {row.kind.allowed}")
                values.append(part.strip())
        if values and not (isinstance(node, Text) and node.null):
            found[row.name.lower()] = tuple(values)
    return found
