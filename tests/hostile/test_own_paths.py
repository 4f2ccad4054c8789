"""What is the gateway's own is answered by it, in whatever spelling, and never by a service that takes everything."""

from __future__ import annotations

import pytest

from tests.hostile.calls import OWN, SPELLINGS
from tests.hostile.rig import Gateway, Start, emptied, request

ROUTES = """
routes:
  - {id: everything, uri: "lb://service", predicates: ["Path=/**"]}
services:
  service: ["%s"]
access:
  public: ["/open/**"]
cors:
  cors-configurations:
    '[/**]': {allowedOrigins: ["https://page.test"], allowedMethods: ["*"], allowedHeaders: ["*"]}
discovery: {locator: {enabled: true}}
"""


@pytest.fixture(scope="module")
def taking_all(start: Start) -> Gateway:
    return start("c", routes=ROUTES, config_server_webhook_secret="a-secret-of-the-test")


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_an_own_path_reaches_a_service(taking_all: Gateway, own: str, spelling: str) -> None:
    path = spelling.format(own, own.upper(), f"{ord(own[0]):02x}{own[1:]}")
    gateway = emptied(taking_all)
    for method in ("GET", "POST", "OPTIONS"):
        gateway.ask(path, gateway.bearer(), method=method)
    assert gateway.behind() == ([], [])


@pytest.mark.parametrize("path", ["/metrics", "/actuator/prometheus", "/actuator/health"])
def test_no_page_of_another_origin_reads_what_is_for_operators(taking_all: Gateway, path: str) -> None:
    answer = taking_all.ask(path, b"Origin: https://page.test\r\n")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_preflight_reaches_no_service_and_opens_nothing(taking_all: Gateway) -> None:
    gateway = emptied(taking_all)
    asks = b"Access-Control-Request-Method: POST\r\n"
    for origins in (b"Origin: https://page.test\r\n", b"Origin: null\r\n", b"Origin: a\r\nOrigin: b\r\n"):
        answer = gateway.ask("/api/v1/reservations", origins, asks, method="OPTIONS")
        assert answer.status in (200, 403)
    with gateway.client() as client:
        sent = request(
            "OPTIONS /api/v1/reservations HTTP/1.1",
            b"Origin: https://page.test\r\n",
            asks,
            b"Content-Length: 44\r\n",
            body=b"POST /api/v1/reservations HTTP/1.1\r\nHost: h\r\n\r\n"[:44],
        )
        client.send(sent)
        first = client.answer()
        assert first is not None
        assert first.status == 200
    assert gateway.behind() == ([], [])
