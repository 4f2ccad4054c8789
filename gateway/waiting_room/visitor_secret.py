"""The secret for visitors' cookies in Redis, where all instances share it, unless an operator has set one."""

from __future__ import annotations

from collections.abc import Mapping

from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.redis.connection import CallObserver, Redis, ignore_calls
from gateway.waiting_room.scripts import Script


def visitor_secret_key(prefix: str) -> str:
    """The name of the string with the secret. It belongs to no room."""
    return f"{prefix}gw:visitor-secret"


class VisitorSecretStore:
    """Reads the secret, and stores one if there is none."""

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        prefix: str,
        *,
        observe: CallObserver = ignore_calls,
    ) -> None:
        self._key = visitor_secret_key(prefix)
        self._link = redis.link(observe, key=self._key)
        self._script = scripts["visitor_secret"]

    async def load(self, fresh: str) -> str:
        """The secret in force. ``fresh`` becomes it if there is none. Raises QueueUnavailable."""
        reply: bytes = await self._link.run(self._script, (self._key,), (fresh,))
        return reply.decode("ascii", "replace")

    async def find(self) -> str | None:
        """The secret that has been made, if any. Raises QueueUnavailable."""
        try:
            found: bytes | None = await self._link.call("GET", self._key)
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return None if found is None else found.decode("ascii", "replace")

    async def close(self) -> None:
        """Closes the connection."""
        await self._link.close()
