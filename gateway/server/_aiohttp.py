"""The private parts of aiohttp's server that the gateway uses: all of them, each with its reason."""

from __future__ import annotations

from typing import Final

from aiohttp import web

PRIVATE: Final = {
    (
        web.AppRunner,
        "_make_server",
    ): "starts the application and makes its server; a public parameter for the class of "
    "the server would replace it",
}
"""Class, name, and what the gateway uses it for."""


def missing() -> list[str]:
    """The names that the installed version of aiohttp lacks."""
    return [f"{owner.__name__}.{name}" for owner, name in PRIVATE if not hasattr(owner, name)]


class AppRunner(web.AppRunner):
    """An ``AppRunner`` whose server a subclass can choose."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        return self.make_server(await super()._make_server())

    def make_server(self, plain: web.Server) -> web.Server:
        """Returns the server to run: by default ``plain``, aiohttp's own server, which calls the application."""
        return plain
