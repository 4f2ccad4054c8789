"""HTTP calls of the commands to a running gateway: without proxies, and without following redirects."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.client import HTTPMessage
from typing import IO, Final, TypeVar
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from gateway.settings.model import Settings

T = TypeVar("T")


class _NoRedirects(HTTPRedirectHandler):
    """Returns redirects as answers: the token must not be sent to another address."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


OPENER: Final = build_opener(ProxyHandler({}), _NoRedirects)
"""Opens URLs directly, whatever proxies the environment names."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Returns or raises what ``call`` does; raises TimeoutError if that takes longer than ``seconds``.

    A time-out of urllib applies to each piece of an answer, so a byte now and then would keep the call going for ever.
    The call runs in a thread that the end of the process does not wait for.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="call", daemon=True).start()
    return future.result(seconds)


def own_url(settings: Settings) -> str:
    """The address of the management API of a gateway with the same settings, seen from its own machine."""
    port = settings.management_server_port
    host = settings.server_host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - everywhere is here, too
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    # The management port is for machines nearby, and speaks plain HTTP.
    scheme = "https" if port is None and settings.server_ssl_certificate is not None else "http"
    return (
        f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.server_port if port is None else port}"
    )


def own_opener(settings: Settings, *, verified: bool) -> OpenerDirector:
    """``OPENER`` for ``own_url``. ``verified``: the other side must have the certificate of the settings. The name in
    it does not count, since a gateway on the same machine is asked by its address. Raises OSError if it can't be read.
    """
    if settings.server_ssl_certificate is None:
        return OPENER
    context = ssl.create_default_context()
    context.check_hostname = False
    if verified:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(settings.server_ssl_certificate)
    else:
        context.verify_mode = ssl.CERT_NONE
    return build_opener(ProxyHandler({}), _NoRedirects, HTTPSHandler(context=context))
