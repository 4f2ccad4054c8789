"""What a gateway says of itself, checked by promtool, and scraped by a real Prometheus as OpenMetrics."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.monitoring.prometheus import executable, prometheus
from tests.monitoring.scene import Scene, scene

OPENMETRICS = "application/openmetrics-text;version=1.0.0"

# What promtool says of names and labels that are Spring's: they can't be others.
SPRINGS_OWN = {
    "label names should be written in 'snake_case' not 'camelCase'",
    'non-histogram and non-summary metrics should not have "_count" suffix',
}
UNDERSTOOD_WITH_REMARKS = 3

needs_promtool = pytest.mark.skipif(executable("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(executable("prometheus") is None, reason="prometheus is not installed")


async def checked(page: bytes) -> tuple[int, list[str]]:
    """Status and remarks of ``promtool check metrics``."""
    program = executable("promtool")
    assert program

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, "check", "metrics"], input=page, capture_output=True, timeout=50, check=False
        )

    done = await asyncio.to_thread(run)
    return done.returncode, (done.stdout + done.stderr).decode().splitlines()


async def page(sale: Scene, form: str) -> bytes:
    """All metrics in this form."""
    answer = await sale.with_token(None)("GET", "/metrics", headers={"Accept": form})
    assert answer.headers["Content-Type"].startswith(form.partition(";")[0])
    return answer.body


@needs_promtool
@pytest.mark.timeout(100)
@pytest.mark.parametrize("spring", [False, True], ids=["our names", "Spring's names"])
async def test_promtool_accepts_the_text_form(tmp_path: Path, redis_url: str, spring: bool) -> None:
    async with scene(tmp_path, redis_url, {"METRICS_SPRING_NAMES": str(spring).lower()}) as sale:
        await sale.play()
        pages = [await page(sale, f"text/plain;version={version}") for version in ("0.0.4", "1.0.0")]
    for text in pages:
        assert (b"http_server_requests_seconds_bucket" in text) is spring
        status, remarks = await checked(text)
        assert status in ({0, UNDERSTOOD_WITH_REMARKS} if spring else {0}), remarks
        for remark in remarks:
            name, _, rest = remark.partition(" ")
            assert name.startswith("spring_cloud_gateway_"), remark
            assert rest in SPRINGS_OWN, remark


@needs_prometheus
@pytest.mark.timeout(100)
async def test_prometheus_takes_openmetrics_with_springs_names(tmp_path: Path, redis_url: str) -> None:
    async with (
        scene(tmp_path, redis_url, {"METRICS_SPRING_NAMES": "true"}) as sale,
        prometheus(tmp_path, sale.gateway.base.removeprefix("http://")) as server,
    ):
        await sale.play()
        async with asyncio.timeout(60):
            while not await server.query("http_server_requests_seconds_count"):
                await asyncio.sleep(0.2)
        (target,) = (await server.ask("targets"))["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        # What Prometheus read is what it asks for first: OpenMetrics.
        assert (await page(sale, OPENMETRICS)).endswith(b"# EOF\n")
