"""What ``check`` and ``routes`` ask a Config Server, if the settings name one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from gateway.app_config import is_optional, wanted
from gateway.errors import ConfigUnavailable
from gateway.routing.config.answer import read_answer
from gateway.routing.config.fetch import Wanted, http_ask
from gateway.routing.config.properties import Properties, properties_of
from gateway.settings import Settings


def configured(environ: Mapping[str, str]) -> tuple[Properties | None, str, bool]:
    """What the Config Server says, as ``serve`` would lay it over the route file; why there is nothing (empty where
    nobody is to be asked), and whether ``serve`` would then not start.

    Raises SettingsError.
    """
    settings = Settings.from_env(environ)
    asked = wanted(settings)
    if asked is None:
        return None, "", False
    try:
        return properties_of(read_answer(asyncio.run(_ask(asked))), environ), "", False
    except ConfigUnavailable as error:
        return None, str(error), not is_optional(settings)


async def _ask(asked: Wanted) -> bytes:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session:
        return await http_ask(session, asked)()
