"""The secrets with which visitors' cookies are signed: those of the settings, else one that all instances share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

from gateway.auth.visitors import VisitorCookies
from gateway.background import end_task
from gateway.errors import QueueUnavailable
from gateway.settings.model import Settings
from gateway.waiting_room.redis.connection import CallObserver, Redis
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.visitor_secret import VisitorSecretStore

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = (1.0, 15.0)
_SECRET_BYTES: Final = 32
_MOST_KNOWN: Final = 4
"""Secrets that verify, at most. There are several only if Redis has lost its data."""


@contextlib.asynccontextmanager
async def visitor_secrets_of(
    cookies: VisitorCookies, redis: Redis, settings: Settings, observe: CallObserver
) -> AsyncIterator[VisitorSecrets]:
    """The secrets of this gateway, kept up to date in ``cookies`` until the block ends."""
    store = VisitorSecretStore(redis, load_all(), settings.redis_key_prefix, observe=observe)
    kept = VisitorSecrets(cookies, store, settings.redis_timeout_seconds, settings.visitor_secrets)
    async with kept.running():
        yield kept


class VisitorSecrets:
    """Keeps the secrets of ``cookies`` up to date inside ``running()``, from the first ``need`` on. Without a need
    nothing is asked of Redis, and no secret is made. ``timeout``: how long a need waits for Redis, in seconds.

    ``given``: those that an operator has set. With them no secret is made. One that was made before verifies as long as
    it is in Redis, so visitors keep their places when the operator sets the first one.
    """

    def __init__(
        self, cookies: VisitorCookies, store: VisitorSecretStore, timeout: float, given: Sequence[str] = ()
    ) -> None:
        self._given = tuple(given)
        cookies.set_secrets(self._given)
        self._cookies = cookies
        self._store = store
        self._timeout = timeout
        self._secrets: list[str] = []
        """The one that signs first."""
        self._needed = asyncio.Event()
        self._tried = asyncio.Event()
        self._away = ""

    async def need(self) -> None:
        """There are rooms with visitors: the secrets are kept up to date from now on. Returns once they are known, or
        Redis turned out to be away."""
        self._needed.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._tried.wait()

    async def refresh(self) -> None:
        """Reads the secret, and makes one if there is none. Raises QueueUnavailable.

        A Redis that has lost its data gets the secret that is known here, so visitors keep their cookies.
        """
        if self._given:
            made = await self._store.find()
            self._cookies.set_secrets(self._given if made is None else (*self._given, made))
            return
        known = self._secrets[0] if self._secrets else secrets.token_urlsafe(_SECRET_BYTES)
        found = await self._store.load(known)
        if found not in self._secrets[:1]:
            self._secrets = [found, *(each for each in self._secrets if each != found)][:_MOST_KNOWN]
            self._cookies.set_secrets(self._secrets)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps the secrets up to date until the block ends."""
        task = asyncio.create_task(self._keep(), name="visitor secrets")
        try:
            yield
        finally:
            await end_task(task)
            await self._store.close()

    async def _keep(self) -> None:
        await self._needed.wait()
        while True:
            try:
                pause = await self._look()
            except Exception:
                log.exception("the secret for visitors' cookies could not be looked for; that is tried again")
                pause = _RETRY_SECONDS[1]
            await asyncio.sleep(pause * random.uniform(1.0, 1.1))

    async def _look(self) -> float:
        """Looks once; returns in how many seconds to look again."""
        try:
            await self.refresh()
        except QueueUnavailable as error:
            if not self._away:
                log.warning(
                    "the secret for visitors' cookies can't be read, one that is known stays in use: %s",
                    error.reason,
                )
            self._away = error.reason
            return _RETRY_SECONDS[1] if self._secrets or self._given else _RETRY_SECONDS[0]
        finally:
            self._tried.set()
        if self._away:
            self._away = ""
            log.info("the secret for visitors' cookies can be read again")
        return _LOOK_SECONDS
