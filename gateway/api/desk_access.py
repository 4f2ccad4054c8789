"""Whose session of the operator's desk a token is of."""

from __future__ import annotations

import hmac
from typing import Final

from aiohttp import web

from gateway.auth import desk
from gateway.auth.operators import Operator
from gateway.context import DESK_SESSIONS, OPERATORS

SESSION_LABEL: Final = "desk.session"
"""The label of calls about the session itself, which operators who may only look may end."""


async def operator_of(app: web.Application, token: str) -> Operator | None:
    """The operator whose session this token is of; None if there is none, or the operator's entry has changed. Raises
    QueueUnavailable."""
    session = await app[DESK_SESSIONS].find(desk.hash_of(token))
    operator = None if session is None else app[OPERATORS].current(session.operator)
    if session is None or operator is None:
        return None
    return operator if hmac.compare_digest(session.proof, desk.proof_of(token, operator)) else None
