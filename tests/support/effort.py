"""How much processor time something takes, for tests that say that it takes little.

Other work of the machine, the garbage collector included, only ever adds to a measurement. So the least of several
measurements says most about the code, and its limit need not leave room for a busy machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

TRIES = 5


def least_seconds(act: Callable[[], object], limit: float, tries: int = TRIES) -> float:
    """The least processor time of this thread, in seconds, that a call of ``act`` takes.

    Stops trying once a call takes less than ``limit``: the caller asserts that one does. ``act`` has to do the same
    work each time, so where results are remembered, it clears that memory or uses other input.
    """
    least = float("inf")
    was_on = gc.isenabled()
    gc.disable()
    try:
        for _ in range(tries):
            began = time.thread_time()
            act()
            least = min(least, time.thread_time() - began)
            if least < limit:
                break
    finally:
        if was_on:
            gc.enable()
    return least
