"""Lanes: lines of their own within a room, each with a share of the admissions. The rules are in
``lua_scripts/includes/lanes.lua``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

DEFAULT_LANE: Final = "default"
"""The lane of all users whom no other lane takes. It has the rest of the shares."""

WHOLE: Final = 10_000
"""Shares are counted in such parts; ``includes/lanes.lua`` has the same number."""

LANE_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"

NO_LANES: Final = "none"
"""What a room without lanes has instead of them."""

_SHARE = re.compile(r"([A-Za-z0-9_-]+):([0-9]+)")
"""As ``read_lanes`` in ``includes/lanes.lua`` finds lanes."""

_LANE = re.compile(rf"({LANE_PATTERN}):(\d{{1,5}})", re.ASCII)


class Lane(NamedTuple):
    """A lane beside ``default``: its name, and its share in parts of ``WHOLE``. A share of 0: it is no longer
    configured, and its users are being moved to ``default``."""

    name: str
    share: int


class LaneNumbers(NamedTuple):
    """A lane after a call, ``default`` included: its name, its share of the admissions (0 to 1), and how many users
    wait in it."""

    name: str
    share: float
    waiting: int


def lanes_text(lanes: Iterable[tuple[str, int]]) -> str:
    """Lanes, each a name and a share, as the scripts read them, or ``NO_LANES``."""
    return ",".join(f"{name}:{share}" for name, share in lanes) or NO_LANES


def parse_lanes(text: str) -> tuple[Lane, ...]:
    """The lanes of such a text. Raises ValueError if it is none."""
    found = [_LANE.fullmatch(part) for part in text.split(",")] if text != NO_LANES else []
    lanes = tuple(Lane(each[1], int(each[2])) for each in found if each)
    if len(lanes) != len(found):
        raise ValueError(f"not lanes: {text!r}")
    return lanes


@lru_cache(maxsize=256)
def parse_shares(text: str) -> tuple[tuple[str, float], ...]:
    """Each lane that the scripts find in such a text, with its share (0 to 1); ``default``, which has the rest, comes
    last."""
    lanes = [(name, int(share)) for name, share in _SHARE.findall(text)]
    rest = max(0, WHOLE - sum(share for _, share in lanes))
    return (*((name, share / WHOLE) for name, share in lanes), (DEFAULT_LANE, rest / WHOLE))


def shown_lanes(text: str) -> str:
    """Lanes as operators read them: ``members 0.3, gold 0.2``. Another text as it is."""
    try:
        lanes = parse_lanes(text)
    except ValueError:
        return text
    return ", ".join(f"{name} {share / WHOLE:g}" for name, share in lanes) or NO_LANES


def admission_order(position: int, number: int, lanes: Sequence[LaneNumbers]) -> float:
    """About which admission from the line it is that admits the user at this position of the lane with this number.

    Until then each other lane gives users in the proportion of the shares, as long as it has any. A lane without a
    share gives its users after all others.
    """
    share = lanes[number].share
    ahead = float(position)
    for other, lane in enumerate(lanes):
        if other != number:
            ahead += (
                min(lane.waiting, position * lane.share / share) if share else lane.waiting * (lane.share > 0)
            )
    return ahead
