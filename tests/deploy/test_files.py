"""What is shipped for containers and systemd, tried with the tools that read it: there may be no engine here."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings.model import TABLE, check
from tests.deploy.rig import nginx_executable
from tests.deploy.tools import BIN, DEPLOY, TOP, run, tool
from tests.support.gateway_process import gateway_process

SETTINGS = {row.name for row in TABLE}


@pytest.fixture
def compose() -> dict[str, Any]:
    """The compose file as YAML reads it."""
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """An instance of the unit with this environment's gateway in place of an installed one; the target beside it."""
    shipped = (DEPLOY / "systemd" / "waiting-room-gateway@.service").read_text()
    here = shipped.replace("/opt/waiting-room-gateway/bin/gateway", str(BIN / "gateway"))
    assert here != shipped
    (tmp_path / "waiting-room-gateway@.service").write_text(here)
    shutil.copy(DEPLOY / "systemd" / "waiting-room-gateway.target", tmp_path)
    return tmp_path / "waiting-room-gateway@8081.service"


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    done = run(tool("hadolint"), str(DEPLOY / "Dockerfile"))
    assert (done.returncode, done.stdout) == (0, "")


def test_all_that_the_image_copies_is_there_and_sent_to_the_engine() -> None:
    sent = {line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            copied.update(words[1:-1])
    assert copied == sent
    assert all((TOP / name).exists() for name in copied)


def test_compose_takes_the_file_only_with_what_must_be_given() -> None:
    command = (tool("docker-compose"), "-f", str(DEPLOY / "compose.yaml"), "config", "-q")
    given = {"JWT_JWKS_URI": "https://auth.example/jwks", "MANAGEMENT_TOKEN": "t", "GRAFANA_PASSWORD": "p"}
    assert run(*command, environ=given).stderr == ""
    for name in given:
        done = run(*command, environ={key: value for key, value in given.items() if key != name})
        assert done.returncode != 0
        assert name in done.stderr


def test_compose_mounts_what_is_there_and_sets_what_exists(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name} mounts {source}"
            else:
                assert source in compose["volumes"], f"{name} mounts {source}"
    assert set(compose["x-gateway"]["environment"]) <= SETTINGS


def test_compose_is_for_this_machine_unless_told_otherwise() -> None:
    command = (tool("docker-compose"), "-f", str(DEPLOY / "compose.yaml"), "config")
    given = {"JWT_JWKS_URI": "https://auth.example/jwks", "MANAGEMENT_TOKEN": "t", "GRAFANA_PASSWORD": "p"}

    def published(environ: Mapping[str, str]) -> list[str]:
        config = yaml.safe_load(run(*command, environ=given | environ).stdout)
        return [port for service in config["services"].values() for port in service.get("ports", ())]

    assert len(published({})) == 4
    assert all(port.startswith("127.0.0.1:") for port in published({}))
    assert "0.0.0.0:80:80/tcp" in published({"PUBLISH": "0.0.0.0:80"})


def test_nginx_takes_the_files_where_compose_mounts_them(compose: dict[str, Any], tmp_path: Path) -> None:
    executable = nginx_executable()
    if executable is None:
        pytest.skip("nginx is not installed")
    for mount in compose["services"]["nginx"]["volumes"]:
        source, target, _ = mount.split(":")
        inside = tmp_path / Path(target).relative_to("/etc/nginx")
        inside.parent.mkdir(exist_ok=True)
        text = (DEPLOY / source).read_text().replace("/var/log/nginx/", f"{tmp_path}/")
        # There is no resolver here that knows the containers.
        inside.write_text(text.replace("gateway-1", "127.0.0.1").replace("gateway-2", "127.0.0.1"))
    main = tmp_path / "nginx.conf"
    done = run(
        executable,
        "-t",
        "-p",
        str(tmp_path),
        "-c",
        str(main),
        "-e",
        str(tmp_path / "error.log"),
        "-g",
        f"pid {tmp_path}/pid;",
    )
    assert done.returncode == 0, done.stderr


def test_the_gateways_of_compose_are_those_that_nginx_and_prometheus_know(compose: dict[str, Any]) -> None:
    gateways = {f"{name}:8080" for name in compose["services"] if name.startswith("gateway-")}
    assert len(gateways) == 2
    lines = (DEPLOY / "compose" / "gateways.conf").read_text().splitlines()
    assert {line.split()[1] for line in lines if line.startswith("server ")} == gateways
    scraped = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())["scrape_configs"]
    assert {
        target for one in scraped for each in one["static_configs"] for target in each["targets"]
    } == gateways


def test_containers_are_stopped_later_than_the_gateway_ends(compose: dict[str, Any]) -> None:
    gateway = compose["x-gateway"]
    grace = float(gateway["environment"]["SHUTDOWN_GRACE_SECONDS"])
    assert float(gateway["stop_grace_period"].removesuffix("s")) > grace
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]


def test_systemd_takes_the_unit(unit: Path) -> None:
    for each in (unit, unit.with_name("waiting-room-gateway.target")):
        done = run(tool("systemd-analyze"), "verify", str(each))
        assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_the_unit_well_confined(unit: Path) -> None:
    done = run(
        tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_settings_of_the_unit_are_settings() -> None:
    lines = (DEPLOY / "systemd" / "gateway.env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(environ) <= SETTINGS
    assert "SERVER_PORT" not in environ  # it would win over the instance's name
    assert check(environ | {"SERVER_PORT": "8081"}) == []


async def test_the_commands_of_the_unit_start_reload_and_stop_a_gateway(
    unit: Path, tmp_path: Path, redis_url: str
) -> None:
    lines = unit.with_name("waiting-room-gateway@.service").read_text().splitlines()
    commands = dict(line.split("=", 1) for line in lines if line.startswith("Exec"))
    settings = (DEPLOY / "systemd" / "gateway.env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in settings if line and not line.startswith("#"))
    environ |= {"REDIS_URL": redis_url}
    assert "ExecStartPre" not in commands  # what only warns must not keep a gateway down
    assert commands["ExecStart"].split() == [str(BIN / "gateway"), "serve"]
    assert commands["ExecReload"] == "/bin/kill -HUP $MAINPID"
    async with gateway_process(environ, tmp_path) as gateway:
        asked = environ | {"SERVER_PORT": str(gateway.port)}
        assert run(str(BIN / "gateway"), "health", environ=asked).stdout == "UP\n"
        gateway.send(signal.SIGHUP)
        gateway.send(signal.SIGTERM)
        assert await gateway.ended() == 0


async def test_a_gateway_runs_with_a_read_only_root_and_without_any_privilege(tmp_path: Path) -> None:
    prefix = (
        tool("unshare"),
        "--mount",
        "sh",
        "-c",
        'mount -o remount,ro,bind / && ! touch "$PWD/x" 2>/dev/null && '
        'exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"',
        "sh",
    )
    if run(*prefix[:-1], "sh", "true").returncode != 0:
        pytest.skip("may not unshare mounts here")
    environ = {"REDIS_URL": f"unix://{tmp_path}/nobody.sock", "PYTHONDONTWRITEBYTECODE": "1"}
    async with gateway_process(environ, tmp_path, prefix=prefix) as gateway:
        asked = {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": str(gateway.port)}
        done = run(sys.executable, "-m", "gateway", "health", environ=asked)
        assert (done.returncode, done.stdout) == (0, "UP\n")
