"""Checks whether a call carries the operators' management token. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from gateway.auth.access import bearer


def has_management_token(authorization: Sequence[str], expected: str | None) -> bool:
    """Whether the values of ``Authorization`` hold the management token ``expected``. False if no token is set."""
    if not expected or len(authorization) != 1:
        return False
    given = bearer(authorization)
    return given is not None and hmac.compare_digest(_encoded(given), _encoded(expected))


def _encoded(text: str) -> bytes:
    """The bytes as received: a header may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")
