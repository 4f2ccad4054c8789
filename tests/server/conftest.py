"""Fixtures of the tests of connections."""

from __future__ import annotations

import math

import pytest

from gateway.server import displacement


@pytest.fixture
def nothing_displaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No idle connection makes room for a new one, so each one above the limit is one too many."""
    monkeypatch.setattr(displacement, "MIN_IDLE_SECONDS", math.inf)
