"""Which names of machines can be looked up at all."""

from __future__ import annotations


def can_be_resolved(host: str) -> bool:
    """Whether a resolver can be asked for this name or address: no part of it is empty, or has more than 63 characters.

    For any other, ``getaddrinfo`` raises UnicodeError instead of OSError: a fault of the name, to be reported where
    it is read.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
