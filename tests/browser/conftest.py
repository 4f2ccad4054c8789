"""One Chromium for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.chromium import Context, new_context, shared_chromium


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the protocol of this module's Chromium is to be had."""
    with shared_chromium(tmp_path_factory.mktemp("chromium") / "profile") as address:
        yield address


@pytest.fixture
async def context(devtools: str) -> AsyncIterator[Context]:
    """A browser without cookies and tabs."""
    async with new_context(devtools) as made:
        yield made
