"""Django REST framework with format suffixes, on a free port; it says which, and serves until it is ended."""

from __future__ import annotations

from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    INSTALLED_APPS=["rest_framework"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
    },
)

import django  # noqa: E402 - the settings come first

django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path, re_path  # noqa: E402
from rest_framework.renderers import BaseRenderer, JSONRenderer  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.urlpatterns import format_suffix_patterns  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class AnyRenderer(BaseRenderer):
    """Answers for every format that somebody may name."""

    media_type = "text/plain"

    class _Any(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    format = _Any("txt")

    def render(self, data: Any, *_: Any, **__: Any) -> bytes:
        return str(data).encode()


class Reached(APIView):
    """The gated call."""

    renderer_classes = (JSONRenderer, AnyRenderer)

    def post(self, request: Any, **_: Any) -> Response:
        return Response("reached")


urlpatterns = format_suffix_patterns(
    [
        path("api/v1/reservations", Reached.as_view()),
        path("api/v1/reservations/", Reached.as_view()),
        re_path(r"^(?i:api/v1/reservations/?)$", Reached.as_view()),
        path("api/v1/reservations/<str:id>/pay", Reached.as_view()),
        re_path(r"^(?i:api/v1/reservations/[^/]+/pay/?)$", Reached.as_view()),
    ]
)


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    with make_server("127.0.0.1", 0, get_wsgi_application(), Server, Handler) as server:
        print("ready", server.server_port, flush=True)
        server.serve_forever()
