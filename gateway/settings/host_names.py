"""Which host names can be looked up at all."""

from __future__ import annotations


def can_be_resolved(host: str) -> bool:
    """Whether a resolver accepts this name or address: no part of it is empty or longer than 63 characters.

    For any other name, ``getaddrinfo`` raises UnicodeError instead of OSError. That is a wrong name, to be reported
    where the name is read.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
