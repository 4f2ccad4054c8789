"""What an act would do to the wait of the last user in line."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.waiting_room.forecast import Change, Forecast, forecast, per_second
from gateway.waiting_room.state import Doors, Summary


def summary(**changes: Any) -> Summary:
    """120 users wait, 100 slots are taken, and one user a second is admitted."""
    zeros = dict.fromkeys(
        Summary._fields[Summary._fields.index("admitted") : Summary._fields.index("waits")], 0
    )
    known: dict[str, Any] = {
        "waiting": 120,
        "allowed_in": 100,
        "capacity": 100,
        "duration": 100.0,
        "paused": False,
        "rate": 1.0,
        "abandon_rate": 0.0,
        "more": False,
        "now": 1000.0,
        "waits": (),
        "stays": (),
        "ages": None,
        "parked": 0,
        "next_token": 0.0,
        "lanes": (),
    }
    return Summary(**(zeros | known | changes))


@pytest.mark.parametrize(
    ("change", "after"),
    [
        # 100 are admitted at once, and the last 20 at twice the rate.
        (Change(capacity=200), (10, 100)),
        (Change(capacity=50), (240, 0)),
        (Change(capacity=1000), (0, 120)),
        (Change(capacity=0), (None, 0)),
        (Change(duration=50.0), (60, 0)),
        (Change(duration=200.0), (240, 0)),
        (Change(rate=0.5), (240, 0)),
        (Change(rate=5.0), (120, 0)),
        (Change(rate=0.0), (120, 0)),
        (Change(), (120, 0)),
    ],
)
def test_settings_change_the_pace(change: Change, after: tuple[float | None, int]) -> None:
    found = forecast(summary(), "set", change)
    assert found.before == 120
    assert (found.after if found.after is None else round(found.after), found.at_once) == after


def test_who_ends_the_line_takes_the_places_of_all() -> None:
    room = summary(parked=7)
    assert forecast(room, "sold-out") == forecast(room, "empty") == Forecast(120, None, lose=127)


def test_a_pause_stops_all_and_its_end_lets_them_go_on() -> None:
    assert forecast(summary(), "pause") == Forecast(120, None)
    paused = summary(paused=True, allowed_in=70, doors=Doors.PAUSED)
    assert forecast(paused, "resume") == Forecast(None, 120, at_once=30)


@pytest.mark.parametrize("act", ["close", "reopen", "notice", "front", "remove"])
def test_other_acts_change_no_wait(act: str) -> None:
    assert forecast(summary(), act) == Forecast(120, 120)


def test_nothing_is_foretold_from_nothing() -> None:
    assert forecast(summary(rate=0.0), "set", Change(capacity=101)) == Forecast(None, None, at_once=1)
    assert forecast(summary(waiting=0), "sold-out").lose == 0
    assert forecast(summary(capacity=0, rate=0.0, allowed_in=0), "set", Change(capacity=10)).at_once == 10


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("off", 0),
        ("5/s", 5),
        ("120/m", 2),
        ("3600/h", 1),
        ("x", None),
        ("5/d", None),
        ("٣/s", None),
        ("9" * 5000 + "/s", None),
    ],
)
def test_a_rate_is_read_as_the_setting_has_it(text: str, found: float | None) -> None:
    assert per_second(text) == found
