"""No spelling of a gated call that a lenient service understands gets to it without a place.

Each spelling goes through the gateway, as it is and through a route that rewrites it. What the gateway sends on is
then put to the service itself: it must not reach the gated call.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.hostile.lenient.asking import reaches, service
from tests.hostile.lenient.record import SERVICES
from tests.hostile.lenient.spellings import CALLS, spellings
from tests.hostile.rig import Client, Gateway, Start, emptied, request

HERE = Path(__file__).parent
BUILT = Path(os.environ.get("GATEWAY_TEST_LENIENT", HERE / "services"))
"""Where the services of record.py are built, if they are."""

RECORDED = json.loads((HERE / "recorded.json").read_text(encoding="utf-8"))["services"]

ROUTES = """
routes:
  - {id: open, uri: "lb://service", predicates: ["Path=/open/**"]}
  - {id: alias, uri: "lb://service", predicates: ["Path=/shop/**"],
     filters: ["RewritePath=/shop/(?<rest>.*), /api/v1/$\\\\{rest}"]}
  - {id: all, uri: "lb://service", predicates: ["Path=/**"]}
services:
  service: ["%s"]
gates:
  - {room: default, calls: [POST /api/v1/reservations, "POST /api/v1/reservations/{id}/pay"]}
access:
  public: ["/open/**"]
"""


@pytest.fixture(scope="module")
def lenient(start: Start) -> Gateway:
    return start("c", routes=ROUTES)


@pytest.fixture(scope="module")
def sent_on(lenient: Gateway) -> dict[str, str]:
    """What the gateway sends on of all spellings, for a user without a place: target at the service → as sent."""
    emptied(lenient)
    spelled = [*spellings(), *(each.replace("/api/v1/", "/shop/", 1) for each in spellings())]
    who = lenient.bearer("stranger")
    targets: dict[str, str] = {}
    client: Client | None = None
    for target in spelled:
        client = client or lenient.client()
        client.send(request(f"POST {target} HTTP/1.1".encode(), who, b"Content-Length: 0\r\n"))
        answer = client.answer()
        assert answer is not None, target
        if answer.status == 200:
            seen, faults = lenient.upstream.take()
            assert faults == []
            targets.update((one.target, target) for one in seen)
        else:
            assert answer.status in {400, 403, 404}, (target, answer)
        if answer.headers.get("connection") == "close":
            client.socket.close()
            client = None
    if client is not None:
        client.socket.close()
    assert lenient.behind() == ([], [])
    return targets


def test_most_spellings_are_refused_and_what_is_no_gated_call_goes_on(sent_on: dict[str, str]) -> None:
    """The other tests would hold, too, of a gateway that sends on nothing, or everything that is harmless."""
    assert not set(CALLS) & set(sent_on)
    assert {"/api/v1/reservations!", "/api/v1/reservationsindex.html", "/api/v1/reservations~"} <= set(
        sent_on
    )


@pytest.mark.parametrize("name", RECORDED, ids=lambda name: str(name).partition(" ")[0])
def test_nothing_of_what_reached_the_call_of_a_recorded_service_is_sent_on(
    name: str, sent_on: dict[str, str]
) -> None:
    reached = set(RECORDED[name]["reached"])
    assert set(CALLS) <= reached <= set(spellings())
    assert {target: sent for target, sent in sent_on.items() if target in reached} == {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SERVICES, ids=lambda name: str(name).partition(" ")[0])
def test_nothing_that_is_sent_on_reaches_the_call_of_a_built_service(
    name: str, sent_on: dict[str, str]
) -> None:
    built, command = SERVICES[name]
    if not (BUILT / built).exists() or shutil.which(command[0]) is None:
        pytest.skip(f"{name} is not built (record.py says how)")
    with service(command, cwd=str(BUILT / built.partition("/")[0])) as port:
        assert all(reaches(port, call) for call in CALLS)
        assert {target: sent for target, sent in sent_on.items() if reaches(port, target)} == {}


@pytest.fixture(scope="module")
def rest_framework() -> Iterator[Callable[[str], bool]]:
    if find_spec("rest_framework") is None:
        pytest.skip("no Django REST framework (pip install -e '.[lenient]')")
    with service([sys.executable, str(HERE / "services" / "django_service.py")]) as port:
        yield lambda target: reaches(port, target)


def test_nothing_that_is_sent_on_reaches_the_call_of_a_rest_framework(
    rest_framework: Callable[[str], bool], sent_on: dict[str, str]
) -> None:
    assert {target: sent for target, sent in sent_on.items() if rest_framework(target)} == {}


@pytest.mark.parametrize("end", [".json", ".json/", "/", ".txt"])
def test_the_rest_framework_is_as_lenient_as_it_is_said_to_be(
    rest_framework: Callable[[str], bool], end: str
) -> None:
    assert all(rest_framework(call + end) for call in CALLS)
    assert rest_framework("/API/v1/Reservations")
    assert not rest_framework("/api/v1/other")
