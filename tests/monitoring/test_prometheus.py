"""What is shipped for Prometheus and Grafana, run by a real Prometheus on what a gateway really says."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.prometheus import ALERT_TESTS, CONFIG, DEPLOY, RULES, Prometheus, executable, prometheus
from tests.monitoring.scene import Scene, scene

DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "gateway.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = sorted({target["expr"] for panel in PANELS for target in panel["targets"]})

# Queries that are rightly empty in a sale in which nothing goes wrong; by a part of them, with the reason.
RIGHTLY_EMPTY = {
    "gateway_route_reloads_total": "no route file was read anew",
    "gateway_eureka_calls_total": "instances are in the route file",
    "gateway_config_fetches_total": "there is no Config Server",
    "gateway_trace_spans_total": "nobody takes spans",
}

needs_prometheus = pytest.mark.skipif(
    executable("prometheus") is None or executable("promtool") is None, reason="prometheus is not installed"
)


def substituted(expression: str) -> str:
    """As Grafana sends it, with everything chosen."""
    for name, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$room", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def alerts() -> dict[str, Any]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@needs_prometheus
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("check", "config", str(CONFIG)), id="configuration and rules"),
        pytest.param(("test", "rules", str(ALERT_TESTS)), id="alarms"),
    ],
)
def test_promtool_finds_no_fault(command: tuple[str, ...]) -> None:
    program = executable("promtool")
    assert program
    done = subprocess.run([program, *command], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alarm_is_shown_to_fire_and_to_be_silent() -> None:
    cases = [
        case for test in yaml.safe_load(ALERT_TESTS.read_text())["tests"] for case in test["alert_rule_test"]
    ]
    fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert fires == silent == set(alerts())


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= names
    assert DASHBOARD["uid"] == "gateway"
    assert DASHBOARD["schemaVersion"] >= 36


@pytest.mark.parametrize(
    "file", sorted((DEPLOY / "grafana" / "provisioning").rglob("*.yml")), ids=lambda f: f.name
)
def test_provisioning_files_are_of_the_version_that_grafana_reads(file: Path) -> None:
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["apiVersion"] == 1


def test_rules_and_dashboard_use_no_metric_that_does_not_exist() -> None:
    from tests.monitoring.metric_names import families  # noqa: PLC0415 - needs a registry of its own

    known = {sample for one in families() for sample in one.samples} | {
        "up",
        "process_open_fds",
        "process_max_fds",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    }
    text = "".join(file.read_text() for file in RULES.glob("*.yml")) + "\n".join(QUERIES)
    used = set(re.findall(r"\b(?:gateway|process)_[a-z_]+\b", text))
    assert used
    assert used <= known


def said(series: list[dict[str, Any]]) -> bool:
    """Whether there is a number among them."""
    return any(not math.isnan(float(one["value"][1])) for one in series)


async def _silent(server: Prometheus, queries: list[str]) -> list[str]:
    """Queries without data, but for those that may be."""
    rightly = tuple(RIGHTLY_EMPTY)
    return [
        query
        for query in queries
        if not any(part in query for part in rightly) and not said(await server.query(substituted(query)))
    ]


@needs_prometheus
@pytest.mark.timeout(150)
async def test_every_query_of_the_dashboard_has_an_answer_and_an_alarm_fires_for_real(
    tmp_path: Path, redis_url: str
) -> None:
    async with (
        scene(tmp_path, redis_url, {"METRICS_SPRING_NAMES": "false"}) as sale,
        prometheus(tmp_path, sale.gateway.base.removeprefix("http://")) as server,
    ):
        await _scraped(server)
        await sale.play()
        recorded = [
            rule["record"]
            for group in yaml.safe_load((RULES / "recording.yml").read_text())["groups"]
            for rule in group["rules"]
        ]
        # What has answered once is done: rates over a minute fall silent again when the sale is over.
        silent = [*QUERIES, *recorded]
        try:
            async with asyncio.timeout(60):
                while silent := await _silent(server, silent):
                    await asyncio.sleep(0.5)
        except TimeoutError:
            pytest.fail("no data: " + "\n".join(silent))
        assert "GatewayRoutesRefused" not in await server.firing()
        await _break_routes(sale, tmp_path)
        async with asyncio.timeout(40):
            while "GatewayRoutesRefused" not in await server.firing():
                await asyncio.sleep(0.5)


async def _scraped(server: Prometheus) -> None:
    async with asyncio.timeout(30):
        while not said(await server.query('up{job="gateway"} == 1')):
            await asyncio.sleep(0.2)


async def _break_routes(sale: Scene, folder: Path) -> None:
    (folder / "routes.yaml").write_text("routes: [{id: broken}]")
    async with asyncio.timeout(20):
        while (await sale.scrape()).value("gateway_routes_up_to_date") != 0:
            await asyncio.sleep(0.1)
