"""The sessions of the operator's desk in Redis, shared by all instances. Redis knows them by hashes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.waiting_room.redis.connection import CallObserver, Redis, ignore_calls
from gateway.waiting_room.scripts import Script


class DeskSession(NamedTuple):
    """A session that has not ended. ``operator``: the name; ``proof``: as it was given; ``seconds``: until its end."""

    operator: str
    proof: str
    seconds: float


class DeskSessions:
    """Begins, finds and ends sessions. All calls raise QueueUnavailable."""

    def __init__(
        self,
        redis: Redis,
        scripts: Mapping[str, Script],
        prefix: str,
        *,
        observe: CallObserver = ignore_calls,
    ) -> None:
        beginning = f"{prefix}gw:{{desk}}:"
        self._keys = (f"{beginning}sessions", f"{beginning}ends")
        self._link = redis.link(observe, key=beginning)
        self._script = scripts["desk_session"]

    async def begin(self, session: str, operator: str, proof: str, seconds: float) -> None:
        """Begins a session with this hash."""
        record = f"{proof} {operator}"
        await self._link.run(self._script, self._keys, ("begin", session, record, round(seconds * 1000)))

    async def find(self, session: str) -> DeskSession | None:
        """The session with this hash; None if there is none."""
        record, left_ms = await self._link.run(self._script, self._keys, ("find", session, "", ""))
        proof, _, operator = record.decode("utf-8", "replace").partition(" ")
        return DeskSession(operator, proof, left_ms / 1000) if operator else None

    async def end(self, session: str) -> None:
        """Ends the session with this hash, if there is one."""
        await self._link.run(self._script, self._keys, ("end", session, "", ""))

    async def close(self) -> None:
        """Closes the connection."""
        await self._link.close()
