"""Requests put together at random from the pieces of the other tests: both gateways do the same."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fast_path.rig import Case, Pair, request
from tests.fast_path.service import Script
from tests.fast_path.test_answers import SCRIPTS, TARGET
from tests.fast_path.test_bodies import METHODS, chunks
from tests.fast_path.test_identity import FORWARDED, HEADERS, identities
from tests.fast_path.test_policy import ODD_ROOMS, ORIGINS, ROOMS
from tests.fast_path.test_routes import QUERIES, ROUTED

pytestmark = pytest.mark.asyncio(loop_scope="package")

PATHS = (
    *ROUTED,
    *(f"/api/v1/queue/{call}{room}" for call in ("status", "lineup") for room in (*ROOMS, *ODD_ROOMS)),
    "/api/v1/queue/leave",
    "/api/v1/reservations",
    "/tickets/a",
    "/tickets/vip",
    "/private/a",
    "/nothing",
)
IDENTITIES = ("none", "known", "expired", "garbage", "twice", "in a cookie", "of an odd user")
ANSWERS = tuple(script for script in SCRIPTS.values() if len(repr(script)) < 2000)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[bytes, str, bool, int]], tuple[int, ...], Script]:
    """Requests (head without identity, identity, body in chunks or not, size of the body), where they are cut, and
    what services answer to ``TARGET``."""
    requests = []
    for _ in range(draw(st.integers(1, 3))):
        target = draw(st.sampled_from((TARGET, TARGET, *PATHS)))
        if "?" not in target:
            target += draw(st.sampled_from(("", "", "", *QUERIES)))
        headers = draw(
            st.lists(st.sampled_from((*HEADERS.values(), *FORWARDED, *ORIGINS)), max_size=2, unique=True)
        )
        head = request(f"{draw(st.sampled_from(METHODS))} {target}", *headers)[:-2]
        requests.append(
            (
                head,
                draw(st.sampled_from(IDENTITIES)),
                draw(st.booleans()),
                draw(st.sampled_from((0, 0, 0, 5, 1000, 1025))),
            )
        )
    cuts = draw(st.lists(st.integers(1, 600), max_size=3))
    return requests, tuple(sorted(cuts)), draw(st.sampled_from(ANSWERS))


def case_of(
    pair: Pair, requests: list[tuple[bytes, str, bool, int]], cuts: tuple[int, ...], known: dict[str, bytes]
) -> Case:
    raw = []
    for head, identity, chunked, size in requests:
        body = b"a" * size
        framing = b""
        if size:
            framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % size
            body = chunks(body) if chunked else body
        raw.append(head + known[identity] + framing + b"\r\n" + body)
    whole = b"".join(raw)
    places = [0, *(cut for cut in dict.fromkeys(cuts) if cut < len(whole)), len(whole)]
    parts = tuple(whole[begin:end] for begin, end in pairwise(places))
    return Case(parts, answers=len(raw), methods=tuple(each.split(b" ")[0] for each in raw))


# The gateways draw random numbers in the other thread meanwhile.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.timeout(180)
async def test_random_requests(usual: Pair, ruled: Pair) -> None:
    known = {id(pair): identities(pair) for pair in (usual, ruled)}
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(cases())
    def compare(made: tuple[list[tuple[bytes, str, bool, int]], tuple[int, ...], Script]) -> None:
        requests, cuts, script = made
        for pair in (usual, ruled):
            case = case_of(pair, requests, cuts, known[id(pair)])
            asyncio.run_coroutine_threadsafe(pair.compare(case, script), loop).result()

    await asyncio.to_thread(compare)
