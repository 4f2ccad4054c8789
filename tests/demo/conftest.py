"""A small sale, observed from its start to its end."""

from __future__ import annotations

import pytest

from gateway.demo.observations import (
    Call,
    EventReceived,
    Outcome,
    QueueStatus,
    RequestSent,
    ResponseReceived,
    StreamClosed,
    VisitFinished,
)
from gateway.demo.statistics import Statistics
from tests.demo.trace import IN, LIMITS, NAMES, waiting


@pytest.fixture
def statistics() -> Statistics:
    """Hana gets in at once and buys, Noah waits, blips and gets in, Ada closes the tab."""
    statistics = Statistics(LIMITS, NAMES, opened=100.0)
    for observation in (
        ResponseReceived(1, 101.0, Call.LINEUP, 100.9, 200, IN),
        ResponseReceived(2, 101.5, Call.LINEUP, 101.4, 200, waiting(1, 1)),
        ResponseReceived(3, 101.6, Call.LINEUP, 101.5, 200, waiting(2, 2)),
        EventReceived(2, 101.7, 1, "STATUS_UPDATE", "", waiting(1, 1)),
        StreamClosed(2, 102.0, 1, by_us=True),
        StreamClosed(3, 102.0, 1, by_us=True),
        EventReceived(2, 103.0, 2, "STATUS_UPDATE", "", waiting(1, 1)),
        ResponseReceived(1, 103.2, Call.GATED, 103.0, 200),
        ResponseReceived(
            3, 103.4, Call.GATED, 103.3, 429, QueueStatus("WAITING", 2, 2, code="QUEUE_WAITING")
        ),
        RequestSent(1, 104.0, Call.LEAVE_SLOT),
        VisitFinished(1, 104.1, Outcome.BOUGHT),
        EventReceived(2, 104.1, 2, "ALLOWED_IN", "end", IN),
        StreamClosed(2, 104.1, 2, by_us=False),
        ResponseReceived(3, 111.0, Call.STATUS, 110.9, 404),
        VisitFinished(3, 111.0, Outcome.CLOSED_TAB),
    ):
        statistics.observe(observation)
    return statistics
