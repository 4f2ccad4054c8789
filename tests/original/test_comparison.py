"""With the environment of the original's compose file the gateway answers as the original did, but for what is known.

``recorded/`` has what the original answered, and what its services received; ``record.py`` makes it anew.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.interop.config_server import missing as no_config_server
from tests.interop.eureka_servers import missing as no_eureka
from tests.original.calls import CALLS, SLOW
from tests.original.comparison import Difference, Known, Verdict, compared, judged
from tests.original.differences import STAYS
from tests.original.record import until_ready
from tests.original.recording import Record, Recorder, read
from tests.original.site import ROUTES, a_site
from tests.support.gateway_process import gateway_process

MIGRATION = (Path(__file__).parents[2] / "docs" / "reference" / "migration.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.timeout(300)
with_peers = pytest.mark.skipif(
    bool(no_eureka() or no_config_server()), reason=no_eureka() or no_config_server() or ""
)


async def _recorded() -> dict[str, list[Record]]:
    """The answers of a gateway that knows nothing but the compose file's environment."""
    async with a_site() as site:
        with tempfile.TemporaryDirectory(prefix="gw-original-") as folder:
            # An address to listen on that only this machine reaches; no crowd where a machine is merely busy.
            own = {"SERVER_HOST": "127.0.0.1", "OVERLOAD_LAG_MS": "0", "SHUTDOWN_GRACE_SECONDS": "5"}
            environment = own | site.environment
            async with gateway_process(environment, Path(folder), bare=True) as gateway:
                await until_ready(gateway.base)
                recorder = Recorder(site, gateway.base)
                return {**await recorder.all(), "table": await recorder.routes()}


def _listed(what: Sequence[object]) -> str:
    return "\n".join(["", *map(str, what)])


@with_peers
async def test_what_differs_is_known_and_what_is_known_differs() -> None:
    verdict = judged(compared(read(), await _recorded()), STAYS)
    assert not verdict.unknown, _listed(verdict.unknown)
    assert not verdict.stale, _listed(verdict.stale)


def test_every_call_was_recorded_and_there_are_many() -> None:
    recorded = read()
    table = recorded.pop("table")
    names = {(group, one["name"]) for group, records in recorded.items() for one in records}
    assert names == {(call.group, call.name) for call in [*CALLS, SLOW]}
    assert len(names) > 190
    assert {one["id"] for one in table} > {route["id"] for route in ROUTES}


def _rows(text: str) -> set[str]:
    """The first cells of the tables below a heading."""
    section = text.partition("\n## What is different\n")[2].partition("\n## ")[0]
    return {row.strip() for row in re.findall(r"^\| (.+?) \|", section, re.MULTILINE)} - {"what"}


def test_each_difference_that_stays_has_a_row_with_its_reason() -> None:
    unwritten = {known.why for known in STAYS} - _rows(MIGRATION)
    assert not unwritten


# --- the comparison itself --------------------------------------------------------------------------------------------


def _record(status: int = 200, **more: object) -> Record:
    sent = {"method": "GET", "path": "/", "token": "none", "body": ""}
    return {"name": "a", "sent": sent, "status": status, "headers": [], "body": None, "service": [], **more}


def _differing(here: Record, there: Record) -> list[str]:
    return [str(one) for one in compared({"g": [there]}, {"g": [here]})]


def test_a_difference_names_call_and_respect() -> None:
    assert _differing(_record(404), _record(500)) == ["g/a: status: 500 → 404"]
    body = _record(body={"error": {"code": "X", "status": 1}})
    assert _differing(body, _record(body={"error": {"code": "Y", "status": 1}})) == [
        'g/a: body.error.code: "Y" → "X"'
    ]
    assert _differing(_record(headers=[["vary", "A"], ["vary", "B"]]), _record()) == [
        "g/a: header vary: - → A | B"
    ]
    assert _differing(_record(), _record()) == []


def _reached(headers: Sequence[Sequence[str]]) -> Mapping[str, object]:
    return {"service": "s", "method": "GET", "target": "/", "headers": headers, "body": ""}


def test_what_a_service_was_sent_is_compared_where_both_reached_one() -> None:
    plain, named = _record(service=[_reached([])]), _record(service=[_reached([["x-user-id", "a"]])])
    assert _differing(plain, named) == ["g/a: sent x-user-id: a → -"]
    assert _differing(_record(), named) == ["g/a: reached: s GET / → -"]


def test_a_table_s_entries_are_all_needed_and_a_difference_needs_one() -> None:
    one = Difference("g/a", "status", "500", "404")
    known = Known("why", ("g/*",), {"status": ("500", "404")})
    assert judged([one], [known]) == Verdict([], [])
    assert judged([], [known]) == Verdict([], ["why: g/*: status"])
    assert judged([], [Known("why", ("g/*",), {"status": ("*", "*")}, sometimes=True)]) == Verdict([], [])
    for other in ("403", "500"):
        changed = Difference("g/a", "status", "500", other)
        assert judged([changed], [known]) == Verdict([changed], ["why: g/*: status"])
