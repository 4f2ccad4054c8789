"""Calls the Config Server for ``check`` and ``routes``, if the settings name one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from gateway.composition.live_settings import config_fetcher, config_request, is_optional, with_own_names
from gateway.discovery.config_server.fetch import ConfigRequest
from gateway.discovery.config_server.properties import properties_of
from gateway.discovery.config_server.response import parse_response
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
    asked = config_request(settings)
    if asked is None:
        return None, "", ""
    try:
        found = parse_response(asyncio.run(_ask(settings, asked)))
        return properties_of(found, with_own_names(settings, environ)), "", ""
    except ConfigUnavailable as error:
        if not is_optional(settings):
            return None, str(error), "not start"
        nothing = isinstance(error, ConfigUnusable)
        return None, str(error), "serve nothing until that is mended" if nothing else ""


async def _ask(settings: Settings, asked: ConfigRequest) -> bytes:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session:
        return await config_fetcher(settings, asked, session, NoMetrics())()
