"""Finding the gateway's own calls."""

from __future__ import annotations

import pytest
from aiohttp import web

from gateway.api.endpoints import Endpoint, Endpoints
from gateway.errors import MethodNotAllowed, RouteNotFound


async def handler(_request: web.Request) -> web.StreamResponse:
    return web.Response()


ENDPOINTS = Endpoints(
    [
        Endpoint("GET", "/actuator", handler, label="links"),
        Endpoint("GET", "/actuator/rooms/{room}", handler, label="show"),
        Endpoint("POST", "/actuator/rooms/{room}", handler, label="change"),
        Endpoint("POST", "/api/v1/queue/lineup", handler, label="lineup"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "label", "parameters"),
    [
        ("GET", "/actuator", "links", {}),
        ("HEAD", "/actuator", "links", {}),
        ("POST", "/api/v1/queue/lineup", "lineup", {}),
        ("GET", "/actuator/rooms/vip", "show", {"room": "vip"}),
        ("POST", "/actuator/rooms/vip", "change", {"room": "vip"}),
    ],
)
def test_an_own_call_is_found_with_its_parameters(
    method: str, path: str, label: str, parameters: dict[str, str]
) -> None:
    found = ENDPOINTS.find(method, path)
    assert found is not None
    assert (found[0].label, dict(found[1])) == (label, parameters)


@pytest.mark.parametrize("path", ["/", "/api/v1/queues", "/api/v1/reservations", "/actuators", "/api/v1"])
def test_other_paths_are_left_to_the_routes(path: str) -> None:
    assert ENDPOINTS.find("GET", path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/actuator/",
        "/actuator/rooms/",
        "/actuator/rooms/a/b",
        "/ACTUATOR/health",
        "/api/v1/queue",
        "/Api/V1/Queue/x",
    ],
)
def test_nothing_below_an_own_path_is_ever_routed(path: str) -> None:
    with pytest.raises(RouteNotFound):
        ENDPOINTS.find("GET", path)


def test_a_wrong_method_names_those_there_are() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        ENDPOINTS.find("DELETE", "/actuator/rooms/vip")
    assert caught.value.allowed == ("GET", "HEAD", "POST")
