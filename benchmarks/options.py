"""What a run is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """``seconds`` is the length of one measurement of one row, ``rounds`` how many there are of each.

    ``own_load`` uses our own load generator even where there is wrk. ``streams``: how many for ``streams``, ``fanout``
    and ``freed_slot``, ``waiting`` the people in the long line of ``scale``, ``frees`` the slots freed in each case of
    ``freed_slot``. ``profile``: where ``forward`` writes what its gateway does, None for no profile.
    ``against``: the folder with an earlier version's Lua scripts, for ``scripts``.
    """

    seconds: float = 3.0
    rounds: int = 3
    connections: int = 64
    own_load: bool = False
    streams: int = 15_000
    waiting: int = 1_000_000
    frees: int = 200
    profile: Path | None = None
    against: Path | None = None
