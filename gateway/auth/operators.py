"""Operators: who may look at rooms and change them, by the token of a call. Does no I/O."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.auth.access import bearer
from gateway.auth.wrong_tokens import WrongTokens
from gateway.errors import RouteNotFound, TokenInvalid, TokenRequired, TooManyWrongTokens

Role = Literal["watch", "act"]
ROLES: Final[tuple[Role, ...]] = ("watch", "act")

MANAGEMENT: Final = "management"
"""The name of the operator whose token is ``MANAGEMENT_TOKEN``."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A person or a program with a token. ``watch`` may only look, ``act`` may change things."""

    name: str
    role: Role
    sha256: bytes = field(repr=False)
    """The SHA-256 of the token."""


class Operators:
    """All operators. ``management_token`` returns the setting of that name.

    ``on_rejected`` is called for each wrong token. ``wrong_tokens`` counts them by address.
    """

    def __init__(
        self,
        management_token: Callable[[], str | None],
        on_rejected: Callable[[], None] = lambda: None,
        wrong_tokens: WrongTokens | None = None,
    ) -> None:
        self.named: tuple[Operator, ...] = ()
        """Those of ``OPERATORS_FILE``. A reload replaces them."""
        self._management_token = management_token
        self._on_rejected = on_rejected
        self._wrong_tokens = wrong_tokens or WrongTokens()

    @property
    def exist(self) -> bool:
        """Whether there is any operator. Without one, calls that need an operator do not exist."""
        return bool(self.named or self._management_token())

    def find(self, authorization: Sequence[str]) -> Operator | None:
        """The operator whose token is in these values of ``Authorization``; None for any other value.

        The gateway compares every known token, also after a match, so that the time tells nothing about the tokens.
        """
        given = bearer(authorization) if len(authorization) == 1 else None
        if not given:
            return None
        digest = _sha256(given)
        found = None
        for operator in self._all():
            if hmac.compare_digest(operator.sha256, digest):
                found = operator
        return found

    def current(self, name: str) -> Operator | None:
        """The operator of this name, as the entry is now; None without one."""
        return next((operator for operator in self._all() if operator.name == name), None)

    def identify(self, authorization: Sequence[str], address: str) -> Operator:
        """The operator who calls. ``address`` is the client's.

        Raises RouteNotFound while there are no operators, TokenRequired, TokenInvalid, and TooManyWrongTokens if this
        address has sent too many wrong tokens. A right token is always accepted.
        """
        if not self.exist:
            raise RouteNotFound
        if not authorization:
            raise TokenRequired
        operator = self.find(authorization)
        if operator is None:
            self._on_rejected()
            retry_after = self._wrong_tokens.add(address)
            if retry_after:
                raise TooManyWrongTokens(retry_after)
            raise TokenInvalid("not the token of an operator")
        return operator

    def _all(self) -> tuple[Operator, ...]:
        token = self._management_token()
        return (*self.named, Operator(MANAGEMENT, "act", _sha256(token))) if token else self.named


def _sha256(token: str) -> bytes:
    # The bytes as received: a header may hold bytes that are no UTF-8.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
