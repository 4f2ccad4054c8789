"""One POST at a time from a thread, to one address, past all proxies, and to be broken off from outside."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import unquote, urlsplit

SECONDS: Final = 5.0
"""For connecting, and for each piece of an answer."""


class PostFailed(Exception):
    """No answer. Says in a word why, without the address: that may hold a password."""


class Poster:
    """Posts JSON to ``url`` (``http`` or ``https``; user and password in it are sent as Basic credentials).

    ``post`` is for one thread; ``abandon`` may be called from any other.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname  # noqa: S101 - the settings let nothing else pass
        self._host = parts.hostname
        self._port = parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # A new connection each time: one a second costs nothing, and none can have died meanwhile.
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._connection: HTTPConnection | None = None
        self._abandoned = False

    def post(self, body: bytes, seconds: float = SECONDS) -> int:
        """The status of the answer; its body is not read. Redirects are not followed. Raises PostFailed."""
        if self._abandoned:
            raise PostFailed("closed")
        connection = self._connect(seconds)
        self._connection = connection
        try:
            connection.request("POST", self._target, body, self._headers)
            return connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise PostFailed(type(error).__name__) from None
        except ValueError:
            if not self._abandoned:
                raise
            raise PostFailed("closed") from None
        finally:
            self._connection = None
            connection.close()

    def abandon(self) -> None:
        """Breaks off what is under way; nothing is posted any more."""
        self._abandoned = True
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _connect(self, seconds: float) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=seconds)
