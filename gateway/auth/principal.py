"""Who a verified token speaks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    ``user_id`` is the token's ``sub``: 1 to 255 UTF-8 bytes that a header can carry unchanged.
    ``user_type`` is the configured claim, "" when absent. ``expires_at`` is the token's ``exp`` in
    epoch seconds. ``late`` says that the token has expired and was accepted only because of a grace
    time: that is enough to keep *watching* a place in line, and for nothing else.
    """

    user_id: str
    user_type: str
    expires_at: float
    late: bool = False
