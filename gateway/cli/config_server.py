"""Calls the Config Server for ``check`` and ``routes``, if the settings name one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from gateway.composition.live_settings import asking, is_optional, wanted, with_own_names
from gateway.discovery.config_server.answer import read_answer
from gateway.discovery.config_server.fetch import Wanted
from gateway.discovery.config_server.properties import properties_of
from gateway.errors import ConfigUnavailable, ConfigUnusable
from gateway.observability.metrics import NoMetrics
from gateway.routing.spec.overlay import Properties
from gateway.settings.model import Settings


def configured(environ: Mapping[str, str]) -> tuple[Properties | None, str, str]:
    """Three values:
    the properties of the Config Server, as ``serve`` would lay them over the route file;
    why there are none, empty if no server is to be called;
    what ``serve`` would then do, empty if it would use the file alone.

    Raises SettingsError.
    """
    settings = Settings.from_env(environ)
    asked = wanted(settings)
    if asked is None:
        return None, "", ""
    try:
        found = read_answer(asyncio.run(_ask(settings, asked)))
        return properties_of(found, with_own_names(settings, environ)), "", ""
    except ConfigUnavailable as error:
        if not is_optional(settings):
            return None, str(error), "not start"
        nothing = isinstance(error, ConfigUnusable)
        return None, str(error), "serve nothing until that is mended" if nothing else ""


async def _ask(settings: Settings, asked: Wanted) -> bytes:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session:
        return await asking(settings, asked, session, NoMetrics())()
