"""The token of operators: whether a call has it. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from gateway.auth.access import bearer


def has_management_token(authorization: Sequence[str], expected: str | None) -> bool:
    """Whether the values of ``Authorization`` are the management token, which is ``expected``.

    Never, while no token is set.
    """
    if not expected or len(authorization) != 1:
        return False
    given = bearer(authorization)
    return given is not None and hmac.compare_digest(_encoded(given), _encoded(expected))


def _encoded(text: str) -> bytes:
    """As it came: a header may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")
